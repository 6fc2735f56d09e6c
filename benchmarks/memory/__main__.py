"""``python -m benchmarks.memory``: measure, print the table, store JSON lines and a plot.

Every provider is checked before it is timed; a case with a wrong one is not timed, and the run then ends with 1.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import memgan
from benchmarks.common.facts import facts as facts_of
from benchmarks.memory import cases, layer, measure, on_cuda, pages, report

# Relative to the largest value; the widest of all providers in that dtype, whose rounding differs.
TOLERANCE = {"float32": 2e-4, "tf32": 2e-2, "bfloat16": 4e-2, "float16": 1e-2}
RESULTS = Path(__file__).parents[1] / "results"


class WrongResults(Exception):
    """A provider does not compute what it should: its case is not timed."""


def run(case: cases.Case, seconds: float, *, compiled: bool) -> list[dict[str, Any]]:
    """One row a mode and provider."""
    rows = []
    measured = on_cuda if case.device == "cuda" else measure
    torch.backends.cuda.matmul.allow_tf32 = case.dtype == "tf32"
    inputs = case.inputs()
    providers = cases.providers(compiled=compiled and case.compiles)
    errors = {name: measure.error(refine, cases.definition, inputs) for name, refine in providers.items()}
    wrong = {name: worst for name, worst in errors.items() if not worst < TOLERANCE[case.dtype]}
    if wrong:
        raise WrongResults(f"{case.name}, {case.dtype}: wrong results, nothing is timed: {wrong}")
    rates = measured.rates(inputs, seconds / 2)
    for mode in case.modes:
        able = {
            name: refine
            for name, refine in providers.items()
            if mode != "double backward" or name not in cases.NO_DOUBLE_BACKWARD
        }
        steps = {name: measured.step(mode, refine, inputs) for name, refine in able.items()}
        times = measure.in_turns(steps, seconds)
        by = {name: measured.timed_by(each) for name, each in steps.items()}
        del steps  # before peaks are measured
        for name, taken in times.items():
            peak = measured.peak_bytes(mode, able[name], inputs)
            moving = case.bytes(mode) / rates["copy"]
            floor = max(moving, case.flop(mode, inputs) / rates["gemm"])
            rows.append(
                {
                    "case": case.sizes(),
                    "mode": mode,
                    "provider": name,
                    **taken.row(),
                    "times_ours": taken.median / times[cases.OURS].median,
                    "times_clone": taken.median / rates["clone seconds"],
                    "bytes": case.bytes(mode),
                    "percent_of_copy": 100 * case.bytes(mode) / taken.median / rates["copy"],
                    "percent_of_gemm": 100 * case.flop(mode, inputs) / taken.median / rates["gemm"],
                    "percent_of_floor": 100 * floor / taken.median,
                    "bound": "bytes" if floor == moving else "arithmetic",
                    "timed_by": by[name],
                    "peak_mb": peak / 1e6,
                    "error": errors[name],
                    "copy_gb_s": rates["copy"] / 1e9,
                    "gemm_gflop_s": rates["gemm"] / 1e9,
                }
            )
        print(report.table([row for row in rows if row["case"] == case.sizes() and row["mode"] == mode]))
    return rows


def store(rows: list[dict[str, Any]], facts: dict[str, Any], out: Path) -> None:
    """JSON lines, each with what made it."""
    out.with_suffix(".jsonl").write_text("".join(json.dumps({**row, **facts}) + "\n" for row in rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one tiny case, without torch.compile")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=8.0, help="of timing for each case and mode")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--case", action="append", help="only the cases whose name contains this")
    parser.add_argument(
        "--out", type=Path, help="of OUT.jsonl and OUT.svg; benchmarks/results/memory_<device>"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    memgan.use_backend("native")  # or the reason why there is nothing to measure
    out = arguments.out or RESULTS / f"memory_{arguments.device}"
    chosen = cases.CASES if arguments.device == "cpu" else cases.ON_CUDA
    if arguments.quick:
        chosen = tuple(replace(case, device=arguments.device) for case in cases.QUICK)
    if arguments.case:
        chosen = tuple(case for case in chosen if any(part in case.name for part in arguments.case))
    seconds = 0.05 if arguments.quick else arguments.seconds
    out.parent.mkdir(parents=True, exist_ok=True)
    facts, wrong = facts_of(), 0
    rows: list[dict[str, Any]] = []
    for case in chosen:
        try:
            rows += run(case, seconds, compiled=not arguments.quick)
        except WrongResults as error:
            print(error)
            wrong += 1
            continue
        store(rows, facts, out)  # so far: what follows may not end
    if rows:
        report.plot(rows, facts, out.with_suffix(".svg"))
        for case in chosen if not wrong else ():
            rows += layer.rows(case, seconds / 2)
        layer.print_rows([row for row in rows if row["mode"] in layer.MODES])
        store(rows, facts, out)
        for case in chosen if arguments.device == "cpu" and not wrong else ():
            rows += pages.rows(case, seconds / 2)
        report.print_pages([row for row in rows if row["mode"] in pages.MODES])
        store(rows, facts, out)
    print(f"stored {out}.jsonl and {out}.svg")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
