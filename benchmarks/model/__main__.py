"""``python -m benchmarks.model``: check, measure, print, store JSON lines and a plot; ``--publish`` fills the page.

Every fast form must equal the plain one before anything is timed. Forms run in processes of their own, in turns.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.facts import facts as facts_of
from benchmarks.common.turns import in_turns
from benchmarks.model import cases, forms, gate, report
from benchmarks.model.measure import Times, Worker
from reference_models.dmgan.config import Config

RESULTS = Path(__file__).parents[1] / "results"
MOST_ROUNDS = 30
COMPILE_SECONDS = 240  # for the first run of a compiled form
Row = dict[str, Any]


def measured(
    task: str,
    chosen: Sequence[forms.Form],
    config: Config,
    batch: int,
    device: str,
    threads: int,
    seconds: float,
    rounds: int,
) -> list[Row]:
    """One row a form; the first form is what the others are compared with.

    A compiled form that does not get through its first run within ``COMPILE_SECONDS`` has no times in its row.
    """
    workers = {form.name: Worker(task, form, config, batch, device, threads) for form in chosen}
    late: list[Row] = []
    peaks, began = {}, {}
    try:
        for form in chosen:
            began[form.name] = time.monotonic()
            try:
                peaks[form.name] = workers[form.name].first(COMPILE_SECONDS if form.compiled else None)
            except TimeoutError:
                workers.pop(form.name).close()
                late.append({"task": task, "form": form.name, "batch": batch, "device": device,
                             "wall_s": None, "first_s": float(COMPILE_SECONDS)})  # fmt: skip
                print(f"{task}, {form.name}: not ready after {COMPILE_SECONDS} s")
            began[form.name] = time.monotonic() - began[form.name]
        taken = in_turns(
            {name: worker.once for name, worker in workers.items()},
            seconds,
            warm=0,
            least=rounds,
            most=MOST_ROUNDS,
        )
        profiles = {name: worker.profile() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    times = {name: Times.of(each) for name, each in taken.items()}
    first = times[chosen[0].name]
    return [
        {
            "task": task,
            "form": name,
            "batch": batch,
            "device": device,
            "first_s": began[name],
            "wall_s": mine.wall,
            "cpu_s": mine.cpu,
            "rounds": mine.rounds,
            "times_plain": first.wall / mine.wall,
            "times_plain_cpu": first.cpu / mine.cpu,
            "images_per_second": batch / mine.wall,
            "peak_bytes": peaks[name],
            "convolutions": profiles[name][0],
            "largest": profiles[name][1],
        }
        for name, mine in times.items()
    ] + late


def run(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    """The rows of each task and batch as soon as they are measured, as they are asked for."""
    config = cases.quick() if arguments.quick else cases.paper()
    seconds, kind = 0.0 if arguments.quick else arguments.seconds, torch.device(arguments.device).type
    for task in [task for task in forms.FORMS if task in (arguments.task or forms.FORMS)]:
        chosen = forms.LADDER.get(task, ()) if arguments.ladder else forms.FORMS[task]
        if arguments.compile and task != "words loss":
            chosen = (*chosen, *forms.COMPILED)
        if not chosen:
            continue
        far = gate.differences(task, config, torch.device(arguments.device))
        for batch in (2,) if arguments.quick else forms.BATCHES[kind][task]:
            found = measured(
                task, chosen, config, batch, arguments.device, arguments.threads, seconds, arguments.rounds
            )
            print(report.table([row for row in found if row["wall_s"] is not None]))
            yield [{**row, "difference": far.get(row["form"])} for row in found]


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="networks for a test, three rounds")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=45.0, help="of timing for each task")
    parser.add_argument("--rounds", type=int, default=3, help="at least")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--task", action="append", choices=list(forms.FORMS), help="only these")
    parser.add_argument(
        "--ladder", action="store_true", help="what each trick adds, instead of the forms as a whole"
    )
    parser.add_argument("--compile", action="store_true", help="the fast forms also through torch.compile")
    parser.add_argument(
        "--between", type=int, metavar="IMAGES", help="instead: FID between forms and between seeds"
    )
    parser.add_argument(
        "--exact", action="store_true", help="instead: are the first gradients equal in float64?"
    )
    parser.add_argument("--publish", action="store_true", help="fill docs/speed.md from what is stored")
    parser.add_argument("--publish-only", action="store_true", help="the same, and measure nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser.parse_args(argv)


def measurements(arguments: argparse.Namespace) -> Iterator[list[Row]]:
    """What is asked for, part by part."""
    if arguments.between:
        from benchmarks.model.between import between

        yield between(arguments.between, say=print)
    elif arguments.exact:
        from benchmarks.model.exact import exact

        yield [exact(cases.quick() if arguments.quick else cases.paper(), say=print)]
    else:
        yield from run(arguments)


def keep(rows: list[Row], path: Path) -> None:
    """Store ``rows`` beside what ``path`` holds of other tasks, and draw all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "task" in rows[0]:
        rows = report.beside_others(rows, path)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(f"stored {path}")
    if "task" in rows[0]:
        report.plot([row for row in rows if row["wall_s"] is not None], path.with_suffix(".svg"))


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is asked."""
    arguments = parsed(argv)
    torch.set_num_threads(arguments.threads)
    kind = torch.device(arguments.device).type
    suffix = "".join(
        f"_{name}" for name in ("ladder", "compile", "exact", "between") if getattr(arguments, name)
    )
    path = arguments.out / f"model_{kind}{suffix}.jsonl"
    if not arguments.publish_only:
        facts = {**facts_of(), "threads": arguments.threads}  # before: the load is others'
        rows: list[Row] = []
        for part in measurements(arguments):
            rows += [{**row, **facts} for row in part]
            keep(rows, path)  # now: a run that is cut off has stored what it measured
    if arguments.publish or arguments.publish_only:
        from benchmarks.model.publish import PAGE, publish

        publish(arguments.out)
        print(f"filled {PAGE}")


if __name__ == "__main__":
    main()
