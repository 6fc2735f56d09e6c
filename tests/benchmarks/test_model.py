"""The model's benchmark: it times nothing wrong, and what it stores fills its page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.model import cases, exact, forms, gate, measure, plain, publish, report
from benchmarks.model.__main__ import main, parsed, run

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("task", forms.FORMS)
def test_fast_forms_equal_the_plain_one(task: str) -> None:
    found = gate.differences(task, cases.quick(), CPU)
    assert set(found) >= {"fast, float32"}
    assert found["fast, float32"] < gate.TOLERANCE


def test_every_parameter_s_first_gradient_is_compared() -> None:
    config = cases.quick()
    nets = cases.networks(config, CPU)
    plain_ones = gate.first_gradients(forms.PLAIN, config, 2, CPU)
    expected = [f"generator.{name}" for name, _ in nets.generator.named_parameters()]
    expected += [f"discriminators.{name}" for name, _ in nets.discriminators.named_parameters()]
    assert sorted(plain_ones) == sorted(expected)
    assert all(gradient.any() for gradient in plain_ones.values())


def test_a_wrong_form_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = plain.glu

    def wrong(x: Tensor) -> Tensor:
        return right(x) * (1 + 1e-2)

    monkeypatch.setattr(plain, "glu", wrong)
    with pytest.raises(SystemExit, match="sampling: differs from the plain form"):
        gate.differences("sampling", cases.quick(), CPU)
    with pytest.raises(SystemExit, match="training step: differs"):
        gate.differences("training step", cases.quick(), CPU)


def test_the_algebra_is_the_same_in_float64_with_every_kink() -> None:
    told: list[str] = []
    found = exact.exact(cases.quick(), told.append)
    assert found["worst"] < 1e-11
    assert found["parameters"] == 96
    assert found["within_1e-9"] + found["zero"] == found["parameters"]
    assert told


def test_a_nan_is_the_worst_distance() -> None:
    one = {"a": torch.ones(2), "b": torch.ones(2)}
    other = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([1.0, float("nan")])}
    assert exact.compared(one, other)["worst_name"] == "b"


def test_a_form_that_is_not_ready_in_time_is_a_row_without_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(self: measure.Worker, limit: float | None = None) -> int | None:
        if limit is not None:
            raise TimeoutError
        return whole(self)

    whole = measure.Worker.first
    monkeypatch.setattr(measure.Worker, "first", first)
    arguments = parsed(["--quick", "--compile", "--threads", "1", "--rounds", "1", "--task", "sampling"])
    ((*_, row),) = run(arguments)
    assert row["form"] == "fast, bfloat16, compiled"
    assert row["wall_s"] is None
    assert "not ready by then" in publish.compiled_table([row])


def test_convolutions_are_counted_by_every_name_they_have() -> None:
    spent = {"aten::mkldnn_convolution": 3.0, "aten::_convolution": 1.0, "aten::convolution_backward": 2.0,
             "aten::mul": 2.0}  # fmt: skip
    share, largest = measure.shares(spent, rows=2)
    assert share == 6 / 8
    assert largest == {"mkldnn_convolution": 3 / 8, "convolution_backward": 2 / 8}


def test_a_run_stores_rows_and_a_plot_and_the_page_takes_them(tmp_path: Path) -> None:
    main(["--quick", "--threads", "1", "--rounds", "1", "--task", "sampling", "--out", str(tmp_path)])
    rows = report.stored(tmp_path / "model_cpu.jsonl")
    assert [row["form"] for row in rows] == [form.name for form in forms.FORMS["sampling"]]
    for row in rows:
        assert row["rounds"] >= 1
        assert row["commit"]
        assert row["convolutions"] > 0
        assert (row["difference"] is None) == (row["form"] == "plain")
    for name in ("ladder", "compile"):
        (tmp_path / f"model_cpu_{name}.jsonl").write_text((tmp_path / "model_cpu.jsonl").read_text())
    pair = {"pair": "float32, bfloat16", "fid": 0.25, "mean_difference": 0.5, "images": 7, "model": "m"}
    (tmp_path / "model_cpu_between.jsonl").write_text(json.dumps({**rows[0], **pair}) + "\n")
    proof = {
        "parameters": 7,
        "zero": 1,
        "zero_left": 1e-16,
        "worst": 2e-13,
        "worst_name": "w",
        "within_1e-9": 6,
    }
    (tmp_path / "model_cpu_exact.jsonl").write_text(json.dumps({**rows[0], **proof}) + "\n")
    page = tmp_path / "speed.md"
    page.write_text(publish.PAGE.read_text())
    publish.publish(tmp_path, page, tmp_path / "figure.svg")
    text = page.read_text()
    assert "| float32, bfloat16 | 0.2500 | 0.50 of 255 |" in text
    assert "all 7 parameters agree to 2e-13 (the worst: `w`)" in text
    for row in rows:
        assert f"{row['wall_s']:.2f} s ({row['cpu_s']:.2f} s)" in text
    assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_a_run_of_one_task_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fresh = [{"task": "sampling", "new": True}]
    assert report.beside_others(fresh, path) == fresh
    old = [{"task": "training step"}, {"task": "sampling"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert report.beside_others(fresh, path) == [*fresh, old[0]]
