"""Results as Markdown."""

from __future__ import annotations

import math
from typing import Any

from reference_models.dmgan.ablation.arms import ARMS
from reference_models.dmgan.ablation.cost import Cost
from reference_models.dmgan.ablation.plan import SEEDS
from reference_models.dmgan.ablation.summary import BESIDE, ArmRow, Comparison, comparisons, rows
from reference_models.dmgan.pages import markdown

ALPHA = 0.05
IN_FID = "among_answers.fid.value"  # no share of anything


def results_block(lines: list[dict[str, Any]]) -> str:
    """Both tables, a sentence a claim, and what made the lines."""
    found, claims = rows(lines), comparisons(lines)
    parts = [arm_table(found)]
    if claims:
        parts += [claim_table(claims), "\n".join(f"- {verdict(claim)}" for claim in claims)]
    else:
        parts.append("No claim can be tested before two seeds have both of its arms.")
    made, planned = sum(line["run"] in ARMS for line in lines), len(SEEDS) * len(ARMS)
    if made < planned:
        parts.append(f"{made} of the plan's {planned} runs so far: read nothing into their order.")
    return "\n\n".join([*parts, provenance(lines)])


def arm_table(found: list[ArmRow]) -> str:
    """One row an arm: endpoint and what stands beside it; mean ± standard deviation over seeds."""
    head = ["arm", "seeds", "attribute progress", *BESIDE.values()]
    body = []
    for row in found:
        beside = [_spread(row.beside[name], 1 if name == IN_FID else 100) for name in BESIDE]
        body.append([f"`{row.run}`", str(len(row.seeds)), _spread(row.endpoint, 100), *beside])
    return f"{markdown(head, body)}\n\nIn percent, but for FID; mean ± standard deviation over seeds."


def claim_table(claims: list[Comparison]) -> str:
    """One row a comparison: difference of the endpoint in points, intervals, p-values."""
    head = [
        "family",
        "claim",
        "pairs",
        "difference",
        "95 % bootstrap",
        "exact interval (coverage)",
        "p, one-sided",
        "Holm",
        "p, two-sided",
    ]
    body = []
    for one in claims:
        low, high, coverage = one.exact
        body.append(
            [
                one.family,
                f"{one.better} > {one.worse}",
                str(len(one.differences)),
                f"{100 * one.mean:+.1f}",
                f"{100 * one.bootstrap[0]:+.1f} to {100 * one.bootstrap[1]:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f} ({coverage:.1%})",
                f"{one.p:.3f}",
                f"{one.adjusted:.3f}",
                f"{one.p_two_sided:.3f}",
            ]
        )
    return markdown(head, body)


def verdict(one: Comparison) -> str:
    """What a comparison shows, and what it does not."""
    what = f"**{one.better} against {one.worse}**: {100 * one.mean:+.1f} points of attribute progress"
    numbers = f"adjusted p {one.adjusted:.3f}"
    if one.adjusted <= ALPHA:
        return f"{what}; shown to be better ({numbers})."
    if one.least_adjusted > ALPHA:
        return (
            f"{what}; not shown ({numbers}), and {len(one.differences)} pairs could not show it: "
            f"their smallest adjusted p is {one.least_adjusted:.3f}."
        )
    return f"{what}; not shown to be better ({numbers})."


def cost_table(found: list[Cost]) -> str:
    """One row an arm: what it weighs and computes."""
    head = ["arm", "parameters", "trained by the arm", "MFLOP an image"]
    body = [
        [f"`{one.arm}`", f"{one.parameters:,}", f"{one.refinement_parameters:,}", f"{one.flops / 1e6:,.1f}"]
        for one in found
    ]
    return markdown(head, body)


def swap_table(result: dict[str, Any]) -> str:
    """The swaps of one model beside their control and beside real birds."""
    scores = result["scores"]
    names = {
        "new_colour": "the named part has the new colour",
        "named_kept": "the named part stays as it was",
        "others_kept": "other mentioned attributes stay as they were",
        "others_right": "other mentioned attributes are as asked, after",
        "others_right_before": "the same, before",
    }
    body = []
    for name, meaning in names.items():
        cells = [scores[block].get(name) for block in ("swap", "control", "real")]
        body.append([meaning, *("" if cell is None else _share(cell) for cell in cells)])
    body.append(
        ["pixels move, 8-bit levels", *(f"{scores[b]['moved']:.1f}" for b in ("swap", "control")), ""]
    )
    protocol = result["protocol"]
    said = " ".join(
        f"`{name}` is {goal['value']:.1%}, asked {goal['asked']:.0%}: "
        f"{'reached' if goal['reached'] else 'not reached'}."
        for name, goal in result["goals"].items()
    )
    table = markdown(["", "one colour swapped", "control: one synonym", "real birds, swapped"], body)
    made = f"{protocol['count']} captions of {protocol['species']} held-out species, seed {protocol['seed']}"
    return f"{table}\n\n{said}\n\n{made}; intervals resample species. {result.get('model', '')}".rstrip()


def provenance(lines: list[dict[str, Any]]) -> str:
    """Which code and machine made the lines."""
    commits = sorted({f"`{line['commit'][:10]}{'+' if line.get('changed') else ''}`" for line in lines})
    devices = sorted({line["device"] for line in lines})
    seeds = sorted({line["seed"] for line in lines})
    more = " (+: with changes that were not committed)" if any(line.get("changed") for line in lines) else ""
    return (
        f"Seeds {', '.join(map(str, seeds))}; protocol `{lines[0]['plan']}`; commits {', '.join(commits)}{more}; "
        f"on {' and '.join(devices)}; {lines[0]['evaluation'].get('count', 0):,} images scored a run."
    )


def _spread(value: tuple[float, float], scale: float) -> str:
    mean, deviation = scale * value[0], scale * value[1]
    return f"{mean:.1f}" if math.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def _share(cell: dict[str, Any]) -> str:
    low, high = cell["interval"]
    return f"{100 * cell['value']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
