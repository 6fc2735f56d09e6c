"""A result as lines of text: every figure beside its floor or ceiling."""

from __future__ import annotations

from typing import Any

from reference_models.dmgan.evaluation.gate import reservation


def lines(result: dict[str, Any]) -> list[str]:
    """The result's table, then the gate's answer where the protocol has one."""
    scores, protocol = result["scores"], result["protocol"]
    text = [
        f"protocol {protocol['name']}, {protocol['count']} images, {protocol['reference_count']} reference"
    ]
    if "attributes" in scores:
        block = scores["attributes"]
        low, high = block["progress_interval"]
        text.append(
            f"  attribute accuracy  {block['accuracy']:7.1%}   floor {block['floor']:.1%}   "
            f"ceiling {block['ceiling']:.1%}   progress {block['progress']:.1%} [{low:.1%}, {high:.1%}]"
        )
    if "r_precision" in scores:
        block = scores["r_precision"]
        text.append(
            f"  R-precision         {block['value']:7.1%}   real {block['real']:.1%}   "
            f"chance {block['chance']:.0%}"
        )
    if "among_answers" in scores:
        text.append("among right answers: real birds of which the captions are true")
        text += _distribution(scores["among_answers"])
        text.append("among birds of the captions' species, most of which no caption tells")
    text += _distribution(scores)
    if "inception_score" in scores:
        block = scores["inception_score"]
        text.append(f"  Inception Score     {block['value']:7.2f} ± {block['std']:.2f}")
    if "selection_score" in result:
        text.append(f"  selection score     {result['selection_score']:7.3f}   (lower is better)")
    if "gate" in result:
        told = reservation(result["protocol"]["count"])
        text.append(f"gate: {'passed' if result['gate']['passed'] else 'not passed'}{told and f' ({told})'}")
        for name, term in result["gate"]["terms"].items():
            mark = "ok  " if term["passed"] else "FAIL"
            text.append(f"  {mark} {name:18s} {term['value']:7.3f}   needs {term['limit']:.3f}")
    return text


def _distribution(scores: dict[str, Any]) -> list[str]:
    text = []
    for name, label in (("fid", "FID"), ("kid", "KID"), ("precision", "precision"), ("recall", "recall")):
        if (block := scores.get(name)) is None:
            continue
        form = ".4g" if name in ("fid", "kid") else ".1%"
        line = f"  {label:18s}  {block['value']:7{form}}"
        if "real" in block:
            line += f"   real {block['real']:{form}}"
        if "answers" in block:
            line += f"   right answers {block['answers']:{form}}"
        text.append(line)
    return text
