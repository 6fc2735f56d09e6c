"""The demo: samples, a small evaluation, a minute of training, and the page that shows it all."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reference_models.dmgan.report.data import Picture, ReportData

if TYPE_CHECKING:
    from reference_models.dmgan.report.going_on import GoneOn
    from reference_models.dmgan.sampling import SampledModel

WEIGHTS = Path(__file__).parents[1] / "weights"
TRAINING_IMAGES = 6_000  # birds that the minute of training draws from: more than it can see


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the demo is asked to do."""

    captions: tuple[str, ...] = ()  # none: the first captions of held-out species
    out: Path = Path("demo_out")
    minutes: float = 1.0  # of training; 0: none
    count: int = 1_000  # images of the evaluation; 0: none
    drawings: int = 4  # of each caption, with other noise
    seed: int = 0
    model: Path = WEIGHTS / "birds_demo"
    networks: Path = WEIGHTS / "birds_eval"


def demonstrate(demo: Demo, say: Callable[[str], None], *, began: float | None = None) -> Path:
    """Run the demo and return the path of its page; ``say`` hears what is done.

    Raises:
        FileNotFoundError: weights are missing; the message says what makes them.
    """
    clock = Clock(time.monotonic() if began is None else began, say)
    from reference_models.dmgan.training.weights import model_folder

    demo = replace(demo, model=model_folder(demo.model))
    check_weights(demo)
    demo.out.mkdir(parents=True, exist_ok=True)
    model = load(demo)
    pictures = draw(demo, model, clock)
    result = evaluate(demo, model, clock)
    gone_on = train(demo, pictures, clock)
    path = demo.out / "report.html"
    write_page(demo, model, pictures, result, gone_on, clock, path)
    clock.tell(f"the report: {path}")
    return path


def load(demo: Demo) -> SampledModel:
    """The model, if it can be scored as often as is asked."""
    from reference_models.dmgan.evaluation.numbers import at_least
    from reference_models.dmgan.evaluation.run import MINIMUM
    from reference_models.dmgan.report.from_folder import check_judged
    from reference_models.dmgan.sampling import load_model

    if demo.count:  # 0: no evaluation
        at_least(MINIMUM, count=demo.count)
    model = load_model(demo.model)
    check_judged(model, judge=demo.count > 0, instead="`--count 0` leaves the evaluation and the judge out")
    return model


def check_weights(demo: Demo) -> None:
    """Every file that the demo reads is there, before anything is begun."""
    needed = {
        demo.model: ("config.json", "vocabulary.json", "generator.safetensors", "text_encoder.safetensors"),
        demo.networks: ("judge.safetensors", "scene.safetensors", "retrieval.safetensors"),
    }
    makes = {
        demo.model: "pretrain --out runs/damsm` and `python -m reference_models.dmgan train --encoders runs/damsm "
        "--out runs/birds` make one, in runs/birds/export",
        demo.networks: f"evaluate train-judges --out {demo.networks}` makes them",
    }
    for folder, names in needed.items():
        if folder == demo.networks and not demo.count:
            continue
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{folder / missing[0]} is missing; `python -m reference_models.dmgan {makes[folder]}"
            )


def draw(demo: Demo, model: SampledModel, clock: Clock) -> tuple[Picture, ...]:
    """The captions' pictures, and the sheet that can be looked at first."""
    import memgan
    from reference_models.dmgan.report import from_folder
    from reference_models.dmgan.report.sheet import write_sheet

    with memgan.use_backend("reference"):  # kernels may have to be built first: nobody waits for that now
        pictures = from_folder.draw(model, demo.captions, drawings=demo.drawings, seed=demo.seed)
    for picture in pictures:
        if picture.unknown:
            clock.say(
                f"not in the vocabulary, so not read: {', '.join(picture.unknown)} ({picture.caption!r})"
            )
    sheet = write_sheet(pictures, demo.out / "samples.png")
    clock.tell(f"first pictures of {len(pictures)} captions: {sheet}", "drawing")
    return pictures


def evaluate(demo: Demo, model: SampledModel, clock: Clock) -> dict[str, Any] | None:
    """Scores on held-out species; None: not asked for."""
    if not demo.count:
        return None
    from reference_models.dmgan.evaluation.protocol import write_result
    from reference_models.dmgan.evaluation.run import evaluate_model
    from reference_models.dmgan.evaluation.table import lines

    clock.say(f"evaluating {demo.count} images of held-out species")
    result = evaluate_model(
        model.generator,
        model.text_encoder,
        model.vocabulary,
        count=demo.count,
        seed=demo.seed,
        folder=demo.networks,
    )
    write_result(result, demo.out / "evaluation.json")
    for line in lines(result):
        clock.say(f"  {line}")
    clock.tell(f"evaluated: {demo.out / 'evaluation.json'}", "evaluation")
    return result


def train(demo: Demo, pictures: Sequence[Picture], clock: Clock) -> GoneOn | None:
    """A little more training from the same weights; None: not asked for."""
    if demo.minutes <= 0:
        return None
    from reference_models.dmgan.data.birds.dataset import Birds
    from reference_models.dmgan.report.going_on import go_on
    from reference_models.dmgan.training.weights import read_config

    config = read_config(demo.model)
    images = Birds(
        "train",
        seed=config.data.seed,
        images=TRAINING_IMAGES,
        size=config.generator.sizes[-1],
        cached=False,  # drawn while the step before computes: nothing to wait for, nothing left behind
    )
    clock.say(f"training goes on for {demo.minutes:g} min")
    gone_on = go_on(
        demo.model,
        images,
        [picture.caption for picture in pictures],
        demo.out / "training",
        minutes=demo.minutes,
        seed=demo.seed,
        say=clock.say,
    )
    clock.tell(f"trained on {gone_on.images} more images", "training")
    return gone_on


class Clock:
    """Tells what is done with the time since the start, and remembers how long each part took."""

    def __init__(self, began: float, say: Callable[[str], None]) -> None:
        self.began, self._say, self.parts = began, say, dict[str, float]()

    def say(self, text: str) -> None:
        """A line, with the seconds since the start."""
        self._say(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def tell(self, text: str, part: str = "") -> None:
        """A line at the end of a part."""
        if part:
            self.parts[part] = round(time.monotonic() - self.began - sum(self.parts.values()), 1)
        self.say(text)


def write_page(
    demo: Demo,
    model: SampledModel,
    pictures: tuple[Picture, ...],
    result: dict[str, Any] | None,
    gone_on: GoneOn | None,
    clock: Clock,
    path: Path,
) -> None:
    """Everything above, and one word swapped in each caption."""
    from reference_models.dmgan.report import from_folder
    from reference_models.dmgan.report.curves import charts_of
    from reference_models.dmgan.report.measured import scores_of
    from reference_models.dmgan.report.page import write_report

    log, stored = demo.model / "training_log.jsonl", demo.model / "evaluation.json"
    foreign = from_folder.of_other_weights(stored, demo.model) if stored.is_file() else ""
    if foreign:
        clock.say(foreign)
    swaps = from_folder.swapped(model, pictures, seed=demo.seed, judge=demo.count > 0, networks=demo.networks)
    data = ReportData(
        title=from_folder.title(model),
        lede=from_folder.lede(model, len(pictures), given=bool(demo.captions)),
        pictures=pictures,
        swaps=swaps,
        charts=charts_of(
            from_folder.read_lines(log) if log.is_file() else [],
            gone_on.log if gone_on else [],
            "going on, just now",
        ),
        frames=gone_on.frames if gone_on else None,
        scores=scores_of(result, f"{demo.count:,} images of held-out species, just now.") if result else None,
        more_scores=(("The full measurement", from_folder.stored_scores(stored)),)
        if stored.is_file() and not foreign
        else (),
        provenance={**provenance(demo, gone_on), "seconds": clock.parts},
        config=model.config.to_dict(),
    )
    write_report(data, path)


def provenance(demo: Demo, gone_on: GoneOn | None) -> dict[str, Any]:
    """Enough to do it again."""
    import torch

    from reference_models.dmgan.state_file import sha256

    facts: dict[str, Any] = {
        "command": " ".join(["python -m reference_models.dmgan", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M %z"),
        "seed": demo.seed,
        "weights": {path.name: sha256(path) for path in sorted(demo.model.glob("*.safetensors"))},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
    if gone_on:
        facts["training"] = {
            "images": gone_on.images,
            "seconds": round(gone_on.seconds, 1),
            "discriminators": gone_on.discriminators,
        }
    return facts
