"""``python -m benchmarks.memory``: measure, print the table, store JSON lines and a plot.

Every provider is checked before it is timed: a wrong one ends the run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import memgan
from benchmarks.memory import cases, measure, report

TOLERANCE = 2e-4  # of float32, relative to the largest value
RESULTS = Path(__file__).parents[1] / "results"


def run(chosen: tuple[cases.Case, ...], seconds: float, *, compiled: bool) -> list[dict[str, Any]]:
    """One row a case, mode and provider."""
    rows = []
    for case in chosen:
        inputs = case.inputs()
        providers = cases.providers(compiled=compiled)
        errors = {name: measure.error(refine, cases.definition, inputs) for name, refine in providers.items()}
        wrong = {name: worst for name, worst in errors.items() if not worst < TOLERANCE}
        if wrong:
            raise SystemExit(f"{case.name}: wrong results, nothing is timed: {wrong}")
        rates = measure.rates(inputs, seconds / 2)
        for mode in cases.MODES:
            able = {
                name: refine
                for name, refine in providers.items()
                if mode != "double backward" or name not in cases.NO_DOUBLE_BACKWARD
            }
            steps = {name: measure.step(mode, refine, inputs) for name, refine in able.items()}
            times = measure.in_turns(steps, seconds)
            for name, taken in times.items():
                rows.append(
                    {
                        "case": case.sizes(),
                        "mode": mode,
                        "provider": name,
                        "median_ms": taken.median * 1e3,
                        "quartiles_ms": [bound * 1e3 for bound in taken.quartiles],
                        "least_ms": taken.least * 1e3,
                        "rounds": taken.rounds,
                        "times_ours": taken.median / times[cases.OURS].median,
                        "times_clone": taken.median / rates["clone seconds"],
                        "bytes": case.bytes(mode),
                        "percent_of_copy": 100 * case.bytes(mode) / taken.median / rates["copy"],
                        "percent_of_gemm": 100 * case.flop(mode, inputs) / taken.median / rates["gemm"],
                        "peak_mb": measure.peak_bytes(steps[name]) / 1e6,
                        "error": errors[name],
                        "copy_gb_s": rates["copy"] / 1e9,
                        "gemm_gflop_s": rates["gemm"] / 1e9,
                    }
                )
            print(report.table([row for row in rows if row["case"] == case.sizes() and row["mode"] == mode]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one tiny case, without torch.compile")
    parser.add_argument("--seconds", type=float, default=8.0, help="of timing for each case and mode")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--case", action="append", help="only the cases whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS / "memory_cpu", help="of OUT.jsonl and OUT.svg")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    memgan.use_backend("native")  # or the reason why there is nothing to measure
    chosen = cases.QUICK if arguments.quick else cases.CASES
    if arguments.case:
        chosen = tuple(case for case in chosen if any(part in case.name for part in arguments.case))
    seconds = 0.05 if arguments.quick else arguments.seconds
    rows = run(chosen, seconds, compiled=not arguments.quick)
    facts = report.facts()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({**row, **facts}) for row in rows]
    arguments.out.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")
    report.plot(rows, facts, arguments.out.with_suffix(".svg"))
    print(f"stored {arguments.out}.jsonl and {arguments.out}.svg")


if __name__ == "__main__":
    main()
