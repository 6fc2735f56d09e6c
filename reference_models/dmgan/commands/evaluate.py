"""``evaluate``: score a checkpoint or folders of images; train the evaluation networks; compare results.

::

    evaluate --run DIR | --model DIR [--protocol embedded|selection] [--count N] [--out FILE]
    evaluate --real DIR --fake DIR [--extractor FILE --protocol tf|released]
    evaluate retrieval --model DIR --data DIR
    evaluate train-judges | reference | compare A.json B.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from reference_models.dmgan.commands.evaluate_networks import NETWORKS, make_reference, train_judges
from reference_models.dmgan.commands.options import refuse_folder, say


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a checkpoint, or two folders of images.

    ``evaluate train-judges``, ``evaluate reference`` and ``evaluate compare`` have a ``--help`` of their own.
    """

    run: Path | None = None
    """folder of a training run"""
    model: Path | None = None
    """folder of a model: config.json, vocabulary.json, generator and text encoder"""
    real: Path | None = None
    """folder of real images, with --fake"""
    fake: Path | None = None
    """folder of generated images, with --real"""
    protocol: Literal["embedded", "selection", "tf", "released", "folders"] | None = None
    """embedded: the gate, on held-out species; selection: validation species without the judge, to choose a
    checkpoint; tf, released: --real and --fake through an Inception; folders: through the shipped SceneNet"""
    extractor: Path | None = None
    """Inception weight file of tf or released"""
    sha256: str = ""
    """what the extractor's file must have"""
    count: int = 10_000
    """images to draw"""
    batch: int = 50
    """images at a time"""
    seed: int = 0
    """of noise, distractors, subsets and bootstrap"""
    out: Path | None = None
    """JSON file of the result"""
    networks: Path = NETWORKS
    """folder of the evaluation networks"""
    workers: int = 0
    """processes that draw real images at first use"""
    device: str = "cpu"
    """of the generator or the extractor"""


@dataclass(frozen=True)
class Compare:
    """Second result minus first, refused where their protocols differ."""

    first: Annotated[Path, tyro.conf.Positional]
    second: Annotated[Path, tyro.conf.Positional]


def main(argv: list[str]) -> int:
    """Run one of the forms of ``evaluate``."""
    if argv and argv[0] in FORMS:
        return FORMS[argv[0]](argv)
    return _evaluate(tyro.cli(Evaluate, args=argv, prog="evaluate"))


def _evaluate(options: Evaluate) -> int:
    from reference_models.dmgan.errors import ConfigError
    from reference_models.dmgan.evaluation.protocol import write_result
    from reference_models.dmgan.evaluation.table import lines

    chosen = [options.run is not None, options.model is not None, options.real or options.fake]
    if sum(map(bool, chosen)) != 1:
        raise ConfigError("give one of `--run DIR`, `--model DIR` or `--real DIR --fake DIR`")
    _refuse_unused(options)
    refuse_folder(options.out)
    result = _folders(options) if options.real or options.fake else _model(options)
    if not result:  # of several processes the first alone scores
        return 0
    print("\n".join(lines(result)))
    if options.out:
        write_result(result, options.out)
    return 0


def _refuse_unused(options: Evaluate) -> None:
    """An option that would change nothing: whoever gives it means another form of the command."""
    from reference_models.dmgan.errors import ConfigError

    models, folders, extractor = (
        "`--run DIR` or `--model DIR`",
        "`--real DIR --fake DIR`",
        "`--extractor FILE`",
    )
    if not (options.real or options.fake):
        unused = dict.fromkeys(("extractor", "sha256"), f"{folders}, not with {models}")
    else:
        unused = dict.fromkeys(("count", "workers"), f"{models}, not with {folders}")
        if options.extractor is None:
            unused["sha256"] = f"{extractor}, which is not given"
        else:
            unused["networks"] = f"{folders} without {extractor}"
    for name, form in unused.items():
        if getattr(options, name) != getattr(Evaluate(), name):
            raise ConfigError(f"`--{name}` goes with {form}")


def _model(options: Evaluate) -> dict[str, Any]:
    from reference_models.dmgan.data.birds.dataset import birds_vocabulary
    from reference_models.dmgan.errors import ConfigError, DataError
    from reference_models.dmgan.evaluation.run import evaluate_model
    from reference_models.dmgan.sampling import load_model
    from reference_models.dmgan.state_file import sha256
    from reference_models.dmgan.training.distributed import join, leave, together
    from reference_models.dmgan.training.weights import model_folder

    protocol = options.protocol or "embedded"
    if protocol not in ("embedded", "selection"):
        raise ConfigError(f"`--protocol {protocol}` scores folders: write images with `sample` first")
    world, device = join(options.device)
    folder = options.run or options.model
    assert folder is not None
    model = together(world, "the evaluation cannot begin", lambda: load_model(folder, device=str(device)))
    if model.vocabulary != birds_vocabulary():
        raise DataError(
            f"{options.run or options.model} knows other words than the embedded birds' captions, which the protocol "
            f"{protocol!r} draws: write images with `sample` and score them with --real and --fake"
        )
    try:
        result = evaluate_model(
            model.generator,
            model.text_encoder,
            model.vocabulary,
            protocol=protocol,
            count=options.count,
            batch=options.batch,
            seed=options.seed,
            folder=options.networks,
            workers=options.workers,
            world=world,
            say=say,
        )
    finally:
        leave()
    if result:
        result["generator_sha256"] = sha256(model_folder(folder) / "generator.safetensors")
    return result


def _folders(options: Evaluate) -> dict[str, Any]:
    from reference_models.dmgan.errors import ConfigError
    from reference_models.dmgan.evaluation.folders import score_folders
    from reference_models.dmgan.evaluation.inception_tf import load_score_inception
    from reference_models.dmgan.evaluation.store import load_network
    from reference_models.dmgan.training.distributed import usable_device

    if options.real is None or options.fake is None:
        raise ConfigError(f"`--{'real' if options.real is None else 'fake'} DIR` is missing")
    protocol = options.protocol or ("tf" if options.extractor else "folders")
    if protocol in ("tf", "released"):
        if options.extractor is None:
            raise ConfigError(f"`--protocol {protocol}` needs `--extractor FILE`, an Inception weight file")
        network = load_score_inception(options.extractor, protocol, sha256=options.sha256)
    elif protocol == "folders" and options.extractor is None:
        network = load_network("scene", options.networks)
    else:
        raise ConfigError(
            f"`--protocol {protocol}` does not go with `--real DIR --fake DIR` and these options"
        )
    return score_folders(
        options.real,
        options.fake,
        network.to(usable_device(options.device)),
        batch=options.batch,
        seed=options.seed,
        say=say,
    )


def _retrieval(argv: list[str]) -> int:
    from reference_models.dmgan.commands.evaluate_retrieval import main

    return main(argv[1:])


def _compare(argv: list[str]) -> int:
    from reference_models.dmgan.evaluation.protocol import compare, read_result

    options = tyro.cli(Compare, args=argv[1:], prog="evaluate compare")
    for name, change in compare(read_result(options.first), read_result(options.second)).items():
        print(f"{name:60s} {change:+.5g}")
    return 0


FORMS = {
    "train-judges": train_judges,
    "reference": make_reference,
    "retrieval": _retrieval,
    "compare": _compare,
}
