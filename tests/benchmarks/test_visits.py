"""A training in several visits: its checkpoint travels in pieces, and nothing is lost on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import training
from benchmarks.gpu.pieces import cut, put_together
from reference_models.dmgan.training.checkpoint import checkpoints
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.weights import load_generator, read_config


def test_a_file_in_pieces_is_the_same_when_put_together(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(bytes(range(256)) * 10)
    pieces = cut(tmp_path / "a.pt", tmp_path / "pieces", size=1000)
    assert [piece.name for piece in pieces] == ["a.pt.1of3", "a.pt.2of3", "a.pt.3of3"]
    assert max(piece.stat().st_size for piece in pieces) == 1000
    (whole,) = put_together(tmp_path / "pieces", tmp_path / "there")
    assert whole.read_bytes() == (tmp_path / "a.pt").read_bytes()


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1000, 1), (1001, 2), (2000, 2)])
def test_pieces_of_any_size(size: int, count: int, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    assert len(cut(tmp_path / "a", tmp_path / "pieces", size=1000)) == count
    (whole,) = put_together(tmp_path / "pieces", tmp_path)
    assert whole.stat().st_size == size


def test_a_missing_piece_is_named_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 30)
    cut(tmp_path / "a", tmp_path / "pieces", size=10)[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks a\.2of3"):
        put_together(tmp_path / "pieces", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_pieces_of_an_earlier_file_make_room(tmp_path: Path) -> None:
    for name, size in (("a", 30), ("b", 15)):
        (tmp_path / name).write_bytes(b"x" * size)
        cut(tmp_path / name, tmp_path / "pieces", size=10)
    (tmp_path / "pieces" / "log.jsonl").write_text("kept")
    assert sorted(path.name for path in (tmp_path / "pieces").iterdir()) == ["b.1of2", "b.2of2", "log.jsonl"]


@pytest.fixture
def visit(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Train on a machine of its own → what was found there."""

    def call(machine: str, *words: object) -> dict[str, Any]:
        out = tmp_path / f"{machine}.json"
        options = ["--device", "cpu", "--tiny", "--run", tmp_path / machine, "--json", out, *words]
        assert training.main(list(map(str, options))) == 0
        found: dict[str, Any] = json.loads(out.read_text())
        return found

    return call


def test_a_run_goes_on_from_machine_to_machine(visit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    brought = tmp_path / "pieces"
    first = visit("first", "--minutes", "0.001", "--pieces", brought)
    assert (first["begun at"], first["steps"]) == (0, 1)
    old = shutil.copytree(brought, tmp_path / "old pieces")
    second = visit("second", "--minutes", "0.001", "--from", brought, "--pieces", brought)
    assert (second["begun at"], second["steps"]) == (1, 2)
    assert [line["step"] for line in read_log(tmp_path / "second" / "log.jsonl")] == [1, 2], "one log"
    home = visit("home", "--minutes", "0", "--from", brought)
    assert (home["begun at"], home["steps"]) == (2, 2), "no step of its own"
    (there,), (here,) = (
        [path.name for path in checkpoints(tmp_path / machine / "checkpoints")][-1:]
        for machine in ("second", "home")
    )
    assert there == here
    assert read_config(tmp_path / "home" / "export").discriminator.minibatch_std == 16, "the shipped model's"
    drawn = [
        load_generator(tmp_path / machine / "export", read_config(tmp_path / machine / "export")).state_dict()
        for machine in ("second", "home")
    ]
    assert all(value.equal(drawn[1][name]) for name, value in drawn[0].items())
    third = visit("second", "--minutes", "0.001", "--from", old)
    assert (third["begun at"], third["steps"]) == (2, 3), "pieces older than the run take nothing from it"
    assert [line["step"] for line in read_log(tmp_path / "second" / "log.jsonl")] == [1, 2, 3]


def test_a_folder_without_pieces_is_refused(visit, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no piece of a checkpoint"):
        visit("first", "--minutes", "0.001", "--from", tmp_path / "empty")


def test_a_mistake_is_told_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu.training", "--run", str(tmp_path / "run")]
    command += ["--from", str(tmp_path), "--device", "cpu", "--tiny"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (2, f"training: {tmp_path} holds no piece of a checkpoint\n")
