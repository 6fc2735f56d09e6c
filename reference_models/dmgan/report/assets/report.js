"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  root.classList.add("js");

  // Light or dark: what the system asks for, until the button says otherwise.
  const theme = document.querySelector(".theme");
  const setTheme = (name) => {
    root.dataset.theme = name;
    theme.textContent = name === "dark" ? "Light" : "Dark";
    requestAnimationFrame(() => draw());
  };
  theme.addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));

  const holder = document.getElementById("readings");
  const readings = holder ? JSON.parse(holder.textContent) : [];
  const articles = all("article.picture");
  const state = { caption: 0, drawing: 0, word: null, layer: "picture", pixels: "crisp" };
  const decoded = new Map();
  const bytes = (text) => {
    if (!decoded.has(text)) decoded.set(text, Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    return decoded.get(text);
  };
  const scale = () => {
    const dark = root.dataset.theme === "dark";
    const hex = getComputedStyle(root).getPropertyValue("--accent").trim();
    const accent = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return { low: dark ? [30, 27, 24] : [244, 239, 231], accent, high: dark ? [255, 240, 220] : [70, 20, 0] };
  };

  // A value 0..1 as colour and opacity over the picture: what is not read goes dark, what is read stays.
  const veil = (value) => [14, 12, 10, Math.round(225 * (1 - value))];
  const paint = (canvas, height, width, colour) => {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < height * width; pixel++) image.data.set(colour(pixel), 4 * pixel);
    context.putImageData(image, 0, 0);
  };
  // From the page's own ground over the accent to its far end: pale to deep on paper, black to glowing in the dark.
  const heat = (value, { low, accent, high }) => {
    const [from, to, part] = value < 0.6 ? [low, accent, value / 0.6] : [accent, high, (value - 0.6) / 0.4];
    return [...from.map((channel, at) => channel + (to[at] - channel) * part), 255];
  };

  const drawTable = (article, stages) => {
    const colour = scale();
    for (const canvas of all(".maps canvas", article)) {
      const { shape: [, height, width], attention } = stages[+canvas.dataset.stage];
      const values = bytes(attention);
      const start = +canvas.dataset.word * height * width;
      paint(canvas, height, width, (pixel) => heat(values[start + pixel] / 255, colour));
    }
    for (const row of all("tr.gates", article)) {
      const { write } = stages[+row.dataset.stage];
      all("td", row).forEach((cell, word) => {
        cell.firstChild.style.setProperty("--value", write[word]);
        cell.lastChild.textContent = write[word].toFixed(2).replace(/^0/, "");
      });
    }
  };

  const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
  const tell = (article, stages) => {
    const line = article.querySelector(".readout");
    if (!line) return;
    line.replaceChildren();
    const add = (text, tag) => line.append(tag ? Object.assign(document.createElement(tag), { textContent: text }) : text);
    if (state.layer === "gate") {
      stages.forEach((stage, index) => {
        if (stage.gateMean === null) return;
        add(`Response gate ${index + 1}: mean ${stage.gateMean.toFixed(2)}, from ${stage.gateRange[0].toFixed(2)} to ` +
          `${stage.gateRange[1].toFixed(2)}. `);
      });
      add("Strongly coloured pixels take what they read, pale ones keep what they had.");
    } else if (state.word !== null) {
      add(all("th button", article)[state.word].textContent, "b");
      stages.forEach((stage, index) => {
        const written = stage.write ? `, write gate ${stage.write[state.word].toFixed(2)}` : "";
        add(` · refinement ${index + 1}: ${percent(stage.share[state.word])} of all reading, at most ` +
          `${percent(stage.peak[state.word])} of a pixel's${written}`);
      });
    } else {
      add("Each row of attention has one scale: strong colour, much reading. Pick a word to see it over the pictures.");
    }
  };

  const draw = () => {
    const article = articles[state.caption];
    if (!article) return;
    const stages = readings[state.caption]?.[state.drawing] ?? [];
    const panel = all(".stages", article)[state.drawing];
    const colour = scale();
    for (const canvas of all("canvas", panel)) {
      const stage = stages[+canvas.dataset.stage];
      const [, height, width] = stage.shape;
      const attending = state.layer === "attention" && state.word !== null;
      const gating = state.layer === "gate" && stage.gate !== null;
      canvas.hidden = !(attending || gating);
      canvas.style.imageRendering = state.pixels === "crisp" ? "pixelated" : "auto";
      if (attending) {
        const values = bytes(stage.attention);
        const start = state.word * height * width;
        paint(canvas, height, width, (pixel) => veil(values[start + pixel] / 255));
      } else if (gating) {
        const values = bytes(stage.gate);
        paint(canvas, height, width, (pixel) => heat(values[pixel] / 255, colour));
      }
    }
    if (stages.length) drawTable(article, stages);
    all("[data-word]", article).forEach((cell) => {
      if (cell.tagName !== "CANVAS" && cell.tagName !== "BUTTON")
        cell.classList.toggle("on", state.word !== null && +cell.dataset.word === state.word);
    });
    tell(article, stages);
  };

  const press = (buttons, chosen) => buttons.forEach((b) => b.setAttribute("aria-pressed", String(chosen(b))));
  const update = (change) => {
    if ("caption" in change && change.caption !== state.caption) Object.assign(state, { drawing: 0, word: null });
    Object.assign(state, change);
    articles.forEach((article, index) => { article.hidden = index !== state.caption; });
    const article = articles[state.caption];
    if (article) {
      all(".stages", article).forEach((panel, index) => { panel.hidden = index !== state.drawing; });
      press(all(".drawings button", article), (b) => +b.dataset.drawing === state.drawing);
    }
    press(all(".gallery button"), (b) => +b.dataset.caption === state.caption);
    all(".choice").forEach((group) => press(all("button", group), (b) => b.dataset.value === state[group.dataset.choice]));
    root.classList.toggle("crisp", state.pixels === "crisp");
    draw();
  };
  const words = () => all("th button", articles[state.caption]).length;
  const choose = (word) => update({ word, layer: "attention" });
  const step = (by) => choose(((state.word ?? (by > 0 ? -1 : 0)) + by + words()) % words());

  let timer = null;
  const play = document.querySelector(".play");
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play?.setAttribute("aria-pressed", "false");
  };
  play?.addEventListener("click", () => {
    if (timer !== null) return stop();
    play.setAttribute("aria-pressed", "true");
    step(1);
    timer = setInterval(() => step(1), 1100);
  });

  document.addEventListener("click", (event) => {
    const target = event.target.closest("button, canvas[data-word]");
    if (!target || target === play || target === theme) return;
    const { caption, drawing, word, value } = target.dataset;
    if (word !== undefined) { stop(); choose(+word); }
    else if (target.closest(".gallery")) { stop(); update({ caption: +caption }); }
    else if (target.closest(".drawings")) update({ drawing: +drawing });
    else if (target.closest(".choice")) {
      const name = target.closest(".choice").dataset.choice;
      const word = name === "layer" && value === "attention" && state.word === null ? 0 : state.word;
      update({ [name]: value, word });
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!articles.length || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight" && words()) { stop(); step(1); event.preventDefault(); }
    if (event.key === "ArrowLeft" && words()) { stop(); step(-1); event.preventDefault(); }
  });

  // Charts: a cursor with the values below it.
  for (const panel of all(".chart .panel")) {
    const series = JSON.parse(panel.dataset.series);
    const svg = panel.closest("svg");
    const figure = panel.closest("figure");
    const area = panel.querySelector(".hover-area");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
    line.setAttribute("class", "cursor");
    line.setAttribute("y1", area.getAttribute("y"));
    line.setAttribute("y2", +area.getAttribute("y") + +area.getAttribute("height"));
    line.setAttribute("visibility", "hidden");
    panel.insertBefore(line, area);
    figure.append(tip);
    area.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const nearest = (values) => values.reduce((best, v, i) => (Math.abs(v - x) < Math.abs(values[best] - x) ? i : best), 0);
      const at = nearest(series[0].px);
      line.setAttribute("x1", series[0].px[at]);
      line.setAttribute("x2", series[0].px[at]);
      line.setAttribute("visibility", "visible");
      tip.replaceChildren();
      const rows = [`${panel.dataset.label}: ${Math.round(series[0].x[at]).toLocaleString("en")}`];
      for (const s of series) rows.push(`${s.name} ${s.y[nearest(s.px)]}`);
      rows.forEach((text) => tip.append(Object.assign(document.createElement("div"), { textContent: text })));
      tip.hidden = false;
      const frame = figure.getBoundingClientRect();
      const left = event.clientX - frame.left;
      tip.style.left = `${left + (left > frame.width * 0.6 ? -tip.offsetWidth - 14 : 14)}px`;
      tip.style.top = `${event.clientY - frame.top + 12}px`;
    });
    area.addEventListener("pointerleave", () => { tip.hidden = true; line.setAttribute("visibility", "hidden"); });
  }

  // report.html#caption=2&word=5&layer=attention&theme=dark opens in that state.
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  setTheme(asked.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  if (articles.length) {
    const number = (text, limit) => (Number.isInteger(+text) && +text >= 1 && +text <= limit ? +text - 1 : null);
    update({ caption: number(asked.caption, articles.length) ?? 0 });
    const word = number(asked.word, words());
    update({ word, layer: asked.layer ?? (word === null ? "picture" : "attention"), pixels: asked.pixels ?? "crisp" });
  }
})();
