"""The page of a model's folder, without training or measuring anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.evaluation.numbers import check_size
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.report.curves import charts_of
from reference_models.dmgan.report.data import Picture, ReportData, Scores, Swap
from reference_models.dmgan.report.explain import explain
from reference_models.dmgan.report.measured import scores_of
from reference_models.dmgan.sampling import SampledModel, load_model
from reference_models.dmgan.state_file import sha256
from reference_models.dmgan.training.weights import model_folder

BUILT_IN = 8  # captions


def report_of(
    folder: Path,
    captions: Sequence[str] = (),
    *,
    result: Path | None = None,
    log: Path | None = None,
    drawings: int = 4,
    seed: int = 0,
    judge: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> ReportData:
    """Everything that can be shown of the model in ``folder``; ``say`` hears where scores are of other weights.

    Raises:
        ConfigError: there are no captions, and the model is not one of the embedded birds.
        FileNotFoundError: the model, ``result`` or ``log`` is missing.
    """
    model = load_model(folder)
    check_judged(model, judge=judge, instead="`--no-judge` leaves the judge out")
    pictures = draw(model, captions, drawings=drawings, seed=seed)
    result = result or _first(folder, "evaluation.json")
    log = log or _first(folder, "log.jsonl", "training_log.jsonl")
    foreign = of_other_weights(result, folder) if result else ""
    if foreign:
        say(foreign)
    return ReportData(
        title=title(model),
        lede=lede(model, len(pictures), given=bool(captions)),
        pictures=pictures,
        swaps=swapped(model, pictures, seed=seed, judge=judge),
        charts=charts_of(read_lines(log)) if log else (),
        scores=stored_scores(result) if result and not foreign else None,
        provenance={
            "folder": folder,
            "seed": seed,
            "weights": {
                path.name: sha256(path) for path in sorted(model_folder(folder).glob("*.safetensors"))
            },
            "torch": torch.__version__,
            **({"scores": foreign} if foreign else {}),
        },
        config=model.config.to_dict(),
    )


def draw(model: SampledModel, captions: Sequence[str], *, drawings: int, seed: int) -> tuple[Picture, ...]:
    """The captions' pictures (none given: of held-out birds), with a real bird beside each where there is one."""
    if drawings < 1:
        raise ConfigError(f"`drawings` must be at least 1, got {drawings}")
    birds = model.config.data.layout == "birds"
    if not captions and not birds:
        raise ConfigError("give at least one caption: only models of the embedded birds have built-in ones")
    if not birds:
        return tuple(explain(model, captions, drawings=drawings, seed=seed))
    from reference_models.dmgan.report.birds import held_out_captions, real_bird

    size = model.generator.config.sizes[-1]
    captions = captions or held_out_captions(BUILT_IN, seed=model.config.data.seed)
    return tuple(
        replace(picture, real=real_bird(picture.caption, size, seed=seed))
        for picture in explain(model, captions, drawings=drawings, seed=seed)
    )


def check_judged(model: SampledModel, *, judge: bool, instead: str) -> None:
    """Before anything is drawn: that the judge can look at the swaps; ``instead`` says what leaves it out."""
    if judge and model.config.data.layout == "birds":
        check_size(model.generator.config.sizes[-1], instead)


def swapped(
    model: SampledModel,
    pictures: Sequence[Picture],
    *,
    seed: int,
    judge: bool,
    networks: Path | None = None,
) -> tuple[Swap, ...]:
    """One colour word changed in each caption; only the embedded birds' captions are understood."""
    if model.config.data.layout != "birds":
        return ()
    from reference_models.dmgan.evaluation.store import SHIPPED, load_network
    from reference_models.dmgan.report.birds import swaps

    network = load_network("judge", networks or SHIPPED) if judge else None
    return tuple(swaps(model, [picture.caption for picture in pictures], network, seed=seed))


def title(model: SampledModel) -> str:
    """The page's heading."""
    return "Birds drawn from their captions" if model.config.data.layout == "birds" else "Drawn from captions"


def lede(model: SampledModel, count: int, *, given: bool) -> str:
    """The page's first sentences."""
    sizes = model.generator.config.sizes
    with torch.device("meta"):  # as it was trained: the one that draws has BatchNorm folded away
        parameters = sum(parameter.numel() for parameter in Generator(model.config.generator).parameters())
    times = {1: "once", 2: "twice"}.get(len(sizes) - 1, f"{len(sizes) - 1} times")
    whose = (
        f"The {count} captions were given on the command line."
        if given
        else f"Nothing was picked: these are the first captions of {count} species that training never saw."
    )
    return (
        f"A generator of {parameters / 1e6:.1f} million parameters reads a caption, draws a first image of {sizes[0]} "
        f"pixels, and refines it {times} with a memory of the caption's words. {whose}"
    )


def stored_scores(path: Path) -> Scores:
    """A stored evaluation, with its number of images as the note."""
    from reference_models.dmgan.evaluation.protocol import read_result

    result = read_result(path)
    return scores_of(result, f"{result['protocol'].get('count', 0):,} images, measured earlier.")


def of_other_weights(path: Path, folder: Path) -> str:
    """A sentence where the result was measured with another generator than the model's in ``folder``, else nothing."""
    from reference_models.dmgan.evaluation.protocol import read_result

    measured = read_result(path).get("generator_sha256")
    weights = model_folder(folder) / "generator.safetensors"
    held = sha256(weights)
    if measured in (None, held):  # None: it does not say
        return ""
    return (
        f"scores are left out: {path} was measured with a generator of sha256 {str(measured)[:12]}..., and {weights} "
        f"has {held[:12]}...; `evaluate` measures it"
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a training log."""
    from reference_models.dmgan.training.log import read_log

    return read_log(path)


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
