"""``ablate``: does each part of the memory help? Runs, tables and one-word swaps.

::

    ablate run --out DIR --encoders DIR   make what is missing of the plan; again and again the same command
    ablate cost                           parameters and FLOPs of every arm
    ablate table [--out DIR]              fill docs/ablation.md and its figures from stored results
    ablate swaps --model DIR              one colour word changed, 500 times, with a control
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reference_models.dmgan.commands.options import (
    check_minutes,
    refuse_folder,
    say,
    set_threads,
    split_config,
)

NETWORKS = Path(__file__).parents[1] / "weights" / "birds_eval"
DOCS = Path(__file__).parents[3] / "docs"


def main(argv: list[str]) -> int:
    """Run one of the forms of ``ablate``."""
    forms = {"run": _run, "cost": _cost, "table": _table, "swaps": _swaps}
    if not argv or argv[0] not in forms:
        print(__doc__)
        return 0 if argv in (["-h"], ["--help"]) else 2
    return forms[argv[0]](argv[1:])


def _run(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="ablate run", description="Make what is missing of the plan in --out."
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the ablation; several processes may share it"
    )
    parser.add_argument(
        "--encoders", type=Path, required=True, help="what `pretrain` wrote; the same for every run"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(6)), help="default: 0 to 5")
    parser.add_argument("--arms", nargs="+", help="default: all five")
    parser.add_argument("--images", type=int, default=150_000, help="an arm is trained on")
    parser.add_argument(
        "--first-images", type=int, default=15_000, help="the shared first stage is trained on"
    )
    parser.add_argument("--count", type=int, default=10_000, help="images scored a run")
    parser.add_argument("--stored", type=Path, help="results to go on from: what is there is not made again")
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="folder of the evaluation networks")
    parser.add_argument("--minutes", type=float, help="stop after this long, saved")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options, config = split_config(argv, parser)
    set_threads(options.threads)
    check_minutes(options.minutes)
    from reference_models.dmgan.ablation.arms import ARMS
    from reference_models.dmgan.ablation.plan import Plan, encoder_digests
    from reference_models.dmgan.ablation.runner import Ablation, embedded_scores
    from reference_models.dmgan.data.open import open_dataset
    from reference_models.dmgan.evaluation.numbers import at_least, check_size
    from reference_models.dmgan.evaluation.run import MINIMUM
    from reference_models.dmgan.training.weights import load_encoders

    at_least(MINIMUM, count=options.count)
    check_size(config.generator.sizes[-1], "raise `--generator.first-size` or `--generator.refinements`")
    plan = Plan(
        config=config,
        encoders=encoder_digests(options.encoders),
        images=options.images,
        first_images=options.first_images,
        count=options.count,
        seeds=tuple(options.seeds),
        arms=tuple(options.arms or ARMS),
    )
    _print_cost(config)
    encoders = load_encoders(options.encoders, config)
    images = open_dataset(config.data, "train", size=config.generator.sizes[-1])
    score = embedded_scores(options.networks)
    ablation = Ablation(plan, options.out, images, encoders, score, options.device, say, options.stored)
    return 0 if ablation.run(minutes=options.minutes) else 1


def _cost(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ablate cost", description="Parameters and FLOPs of every arm.")
    _, config = split_config(argv, parser)
    _print_cost(config)
    return 0


def _table(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="ablate table", description="Fill docs/ablation.md from stored results."
    )
    parser.add_argument("--out", type=Path, help="folder of an ablation, whose results are stored first")
    parser.add_argument(
        "--docs", type=Path, default=DOCS, help="folder of ablation.md, results/ and figures/"
    )
    options = parser.parse_args(argv)
    from reference_models.dmgan.ablation.publish import publish

    for path in publish(options.docs, options.out):
        say(f"wrote {path}")
    return 0


def _swaps(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="ablate swaps", description="One colour word changed, the noise kept."
    )
    parser.add_argument("--model", type=Path, help="a model's folder or a run's; default: the shipped model")
    parser.add_argument("--count", type=int, default=500, help="captions")
    parser.add_argument("--seed", type=int, default=0, help="of the noise, and of which word becomes which")
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="folder of the judge")
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args(argv)
    set_threads(options.threads)
    refuse_folder(options.out)
    from reference_models.dmgan.ablation.swap_shares import lines
    from reference_models.dmgan.ablation.swaps import swaps_of
    from reference_models.dmgan.evaluation.protocol import write_result
    from reference_models.dmgan.sampling import SHIPPED

    model = options.model or SHIPPED
    result = swaps_of(model, count=options.count, seed=options.seed, networks=options.networks, say=say)
    print("\n".join(lines(result)))
    if options.out:
        write_result(result, options.out)
    return 0


def _print_cost(config) -> None:  # type: ignore[no-untyped-def]
    from reference_models.dmgan.ablation.cost import cost_lines, costs

    print("\n".join(cost_lines(costs(config))), flush=True)
