"""A result as lines of text: every figure beside its floor or ceiling."""

from __future__ import annotations

from typing import Any


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
    for name, label in (("fid", "FID"), ("kid", "KID")):
        block = scores[name]
        beside = f"   two real sets {block['real']:.4g}" if "real" in block else ""
        text.append(f"  {label:18s}  {block['value']:7.4g}{beside}")
    for name in ("precision", "recall"):
        block = scores[name]
        beside = f"   real {block['real']:.1%}" if "real" in block else ""
        text.append(f"  {name:18s}  {block['value']:7.1%}{beside}")
    if "inception_score" in scores:
        block = scores["inception_score"]
        text.append(f"  Inception Score     {block['value']:7.2f} ± {block['std']:.2f}")
    if "selection_score" in result:
        text.append(f"  selection score     {result['selection_score']:7.3f}   (lower is better)")
    if "gate" in result:
        text.append(f"gate: {'passed' if result['gate']['passed'] else 'not passed'}")
        for name, term in result["gate"]["terms"].items():
            mark = "ok  " if term["passed"] else "FAIL"
            text.append(f"  {mark} {name:18s} {term['value']:7.3f}   needs {term['limit']:.3f}")
    return text
