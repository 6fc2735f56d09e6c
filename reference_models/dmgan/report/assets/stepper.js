"use strict";
(() => {
  const box = document.querySelector(".stepper");
  if (!box) return;
  const root = document.documentElement;
  const all = (selector, from = box) => [...from.querySelectorAll(selector)];
  const swaps = JSON.parse(document.getElementById("steps").textContent);
  const state = { swap: 0, place: null, layer: "picture" };
  const decoded = new Map();
  const bytes = (text) => {
    if (!decoded.has(text)) decoded.set(text, Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
    return decoded.get(text);
  };
  const colour = (name) => {
    const hex = getComputedStyle(root).getPropertyValue(name).trim();
    return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  };
  const mix = (from, to, part) => [...from.map((value, at) => value + (to[at] - value) * part), 255];

  // A stage's map as a function of the pixel, 0..1 of its own scale: attention of the word, or the response gate.
  const map = (reading) => {
    const [, height, width] = reading.shape;
    if (state.layer === "gate") {
      const values = reading.gate === null ? null : bytes(reading.gate);
      return values && ((pixel) => values[pixel] / 255);
    }
    const values = bytes(reading.attention);
    return (pixel) => (values[state.place * height * width + pixel] / 255) * reading.scale;
  };
  const paint = (canvas, [, height, width], shade) => {
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < height * width; pixel++) image.data.set(shade(pixel), 4 * pixel);
    context.putImageData(image, 0, 0);
  };

  // Changes are small: they have a scale of their own, which the readout states, but noise is not blown up to fill it.
  const FLOOR = 0.02;
  const largest = (a, b, [, height, width]) => {
    let most = FLOOR;
    for (let pixel = 0; pixel < height * width; pixel++) most = Math.max(most, Math.abs(b(pixel) - a(pixel)));
    return most;
  };

  const drawMaps = (article, { before, after }) => {
    const [paper, accent, ink] = ["--paper", "--accent", "--ink"].map(colour);
    for (const canvas of all("canvas", article)) {
      const { row, stage } = canvas.dataset;
      const [first, second] = [before[+stage], after[+stage]];
      const shown = state.layer === "gate" ? first.gate !== null : state.layer === "attention" && state.place !== null;
      canvas.hidden = !shown;
      if (!shown) continue;
      const [a, b] = [map(first), map(second)];
      const scale = state.layer === "gate" ? 1 : Math.max(first.scale, second.scale);
      if (row === "change") {
        const most = largest(a, b, first.shape);
        paint(canvas, first.shape, (pixel) => {
          const change = (b(pixel) - a(pixel)) / most;
          return mix(paper, change > 0 ? accent : ink, Math.abs(change));
        });
      } else {
        const value = row === "before" ? a : b;
        const veil = (pixel) => [14, 12, 10, Math.round(225 * (1 - Math.min(1, value(pixel) / scale)))];
        paint(canvas, first.shape, state.layer === "gate" ? (pixel) => mix(paper, accent, value(pixel)) : veil);
      }
    }
  };

  const drawLedger = (article, { before, after }) => {
    for (const cell of all("td", article)) {
      const { stage, kind } = cell.dataset;
      const place = +cell.parentElement.dataset.place;
      const both = [before[+stage][kind], after[+stage][kind]];
      const most = kind === "share" ? Math.max(...both[0], ...both[1], 1e-6) : 1;
      [...cell.children].forEach((bar, at) => bar.style.setProperty("--value", both[at][place] / most));
    }
    all("tbody tr", article).forEach((row) => row.classList.toggle("on", +row.dataset.place === state.place));
  };

  const fullColour = (before, after) => {
    const scales = before.map((reading, at) => [map(reading), map(after[at]), reading.shape]);
    const told = scales.filter(([a, b]) => a && b).map((both) => largest(...both).toFixed(2));
    return `; full colour is a change of ${told.join(" and ")}.`;
  };
  const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;
  const tell = (article, { before, after, words, after_words: changed, place }) => {
    const line = article.querySelector(".step-readout");
    line.replaceChildren();
    const add = (text, tag) => line.append(tag ? Object.assign(document.createElement(tag), { textContent: text }) : text);
    if (state.layer === "gate") {
      before.forEach((reading, at) => {
        if (reading.gate === null) return;
        add(`Response gate ${at + 1}: mean ${reading.gateMean.toFixed(3)} → ${after[at].gateMean.toFixed(3)}. `);
      });
      add("Strongly coloured pixels take what they read. Last row: coloured where the gate opened, grey where it closed");
      return add(fullColour(before, after));
    }
    if (state.place === null) return add(`${words[place]} became ${changed[place]}. Pick a word to see where it is read.`);
    add(state.place === place ? `${words[place]} → ${changed[place]}` : words[state.place], "b");
    before.forEach((reading, at) => {
      const [share, write] = ["share", "write"].map((kind) => [reading[kind], after[at][kind]]);
      add(` · refinement ${at + 1}: ${percent(share[0][state.place])} → ${percent(share[1][state.place])} of all reading`);
      if (write[0]) add(`, write gate ${write[0][state.place].toFixed(2)} → ${write[1][state.place].toFixed(2)}`);
    });
    if (state.layer !== "attention") return;
    add(". Last row: coloured where it is read more after the swap, grey where less");
    add(fullColour(before, after));
  };

  const draw = () => {
    const articles = all(".step");
    articles.forEach((article, at) => { article.hidden = at !== state.swap; });
    const press = (selector, chosen) => all(selector).forEach((b) => b.setAttribute("aria-pressed", String(chosen(b))));
    press(".step-captions button", (b) => +b.dataset.swap === state.swap);
    press(".step-layers button", (b) => b.dataset.layer === state.layer);
    const article = articles[state.swap];
    for (const show of [drawMaps, drawLedger, tell]) show(article, swaps[state.swap]);
  };
  const update = (change) => {
    if ("swap" in change && change.swap !== state.swap) state.place = null;
    Object.assign(state, change);
    if (state.layer === "attention" && state.place === null) state.place = swaps[state.swap].place;
    draw();
  };
  const step = (by) => {
    const { words, place } = swaps[state.swap];
    update({ place: state.place === null ? place : (state.place + by + words.length) % words.length, layer: "attention" });
  };

  box.addEventListener("click", (event) => {
    const target = event.target.closest("button, tr[data-place]");
    if (!target) return;
    event.stopPropagation();  // the page's own buttons are told apart by the same kind of data
    const { swap, layer, by, place } = target.dataset;
    if (swap !== undefined) update({ swap: +swap });
    else if (layer !== undefined) update({ layer });
    else if (by !== undefined) step(+by);
    else if (place !== undefined) update({ place: +place, layer: "attention" });
  });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    step(by);
    event.preventDefault();
    event.stopPropagation();
  });
  new MutationObserver(draw).observe(root, { attributes: true, attributeFilter: ["data-theme"] });

  // report.html#swap=2&step=5 opens in that state.
  const asked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const number = (text, limit) => (Number.isInteger(+text) && +text >= 1 && +text <= limit ? +text - 1 : null);
  state.swap = number(asked.swap, swaps.length) ?? 0;
  const place = number(asked.step, swaps[state.swap].words.length);
  update({ place, layer: asked.steplayer ?? (place === null ? "picture" : "attention") });
})();
