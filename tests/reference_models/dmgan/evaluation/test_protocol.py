"""Results of two protocols are never compared, and the refusal says why."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.protocol import (
    Protocol,
    ProtocolMismatch,
    compare,
    read_result,
    write_result,
)
from reference_models.dmgan.report.measured import scores_of
from reference_models.dmgan.report.scores import table


def result(fid: float, **changes: object) -> dict[str, object]:
    protocol = Protocol(
        name="embedded",
        count=1000,
        mask_mode="aligned",
        rounding="round",
        ema=True,
        reference_sha256="0" * 64,
    )
    changed = dataclasses.replace(protocol, **changes)  # type: ignore[arg-type]
    return {"protocol": changed.to_dict(), "scores": {"fid": {"value": fid, "real": 1.0}, "note": "text"}}


def test_equal_protocols_are_compared_number_by_number() -> None:
    assert compare(result(5.0), result(3.5)) == {"fid.value": -1.5, "fid.real": 0.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "tf"},
        {"count": 999},
        {"rounding": "truncate"},
        {"ema": False},
        {"file_format": "png"},
        {"extractors": {"scene": "0" * 64}},
        {"seed": 1},
        {"split": "validation"},
        {"resize": "area"},
        {"max_words": 18},
        {"mask_mode": "release"},
        {"reference_sha256": "1" * 64},
    ],
)
def test_a_difference_is_refused_by_name_with_both_values(changes: dict[str, object]) -> None:
    with pytest.raises(ProtocolMismatch) as caught:
        compare(result(5.0), result(3.5, **changes))
    (name, value), *_ = changes.items()
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


def test_results_of_before_do_not_say_what_the_real_side_was() -> None:
    before = result(5.0)
    del before["protocol"]["reference_sha256"]  # type: ignore[attr-defined]
    assert compare(before, result(3.5))["fid.value"] == -1.5


def test_the_batch_size_counts_only_where_images_depend_on_their_neighbours() -> None:
    compare(result(1.0), result(1.0, batch_size=7))
    with pytest.raises(ProtocolMismatch, match="batch_size is 5 and 7"):
        compare(
            result(1.0, mask_mode="release", batch_size=5), result(1.0, mask_mode="release", batch_size=7)
        )


def test_a_result_survives_its_file_and_other_files_are_named(tmp_path: Path) -> None:
    write_result(result(2.0), tmp_path / "a" / "r.json")
    assert read_result(tmp_path / "a" / "r.json") == result(2.0)
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(DataError, match=r"b\.json: not a result"):
        read_result(tmp_path / "b.json")
    (tmp_path / "c.json").write_text('{"protocol": ')
    with pytest.raises(DataError, match=r"c\.json: not JSON"):
        read_result(tmp_path / "c.json")


def test_what_is_no_number_is_null_and_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    scores = {
        "attributes": {"progress": math.nan, "progress_interval": [math.nan, 1.0], "accuracy": 0.5}
        | {"floor": 0.5, "ceiling": 0.5},
        "fid": {"value": math.inf, "real": 1.0},
    }
    write_result({"protocol": {}, "scores": scores}, path)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    stored = json.loads(path.read_text(), parse_constant=refuse)
    assert stored["scores"]["attributes"]["progress"] is None
    assert stored["scores"]["fid"]["value"] is None
    shown = table(scores_of(read_result(path)))
    assert "–" in str(shown)
    with pytest.raises(TypeError):
        write_result({"protocol": {}, "scores": object()}, path)
    assert json.loads(path.read_text()) == stored
    assert [found.name for found in tmp_path.iterdir()] == ["r.json"]
