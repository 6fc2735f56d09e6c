"""A rank with other code, other data or nothing to go on from: rank 0 says so, and all ranks end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from reference_models.dmgan.data.export import export_birds
from tests.reference_models.dmgan.training.conftest import ROOT, TINY, command, run

PATIENCE = 120  # seconds; ranks that wait for each other are a failure


def ends(folders: list[Path], codes: list[Path], *options: object) -> list[tuple[int, str]]:
    """Exit status and stderr of two ranks, each in a folder of its own and with code of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            command(*options),
            cwd=folder,
            env=os.environ | world | {"RANK": str(rank), "PYTHONPATH": str(code)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, (folder, code) in enumerate(zip(folders, codes))
    ]
    try:
        told = [process.communicate(timeout=PATIENCE)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    return [(process.returncode, text) for process, text in zip(ranks, told)]


def test_a_rank_with_other_code_stops_all(encoders_folder: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package in ("memgan", "reference_models"):
        leave_out = shutil.ignore_patterns("weights", "__pycache__", "*.so")
        shutil.copytree(ROOT / package, code / package, ignore=leave_out)
    with (code / "reference_models" / "dmgan" / "losses.py").open("a") as file:
        file.write("# one line more\n")
    options = ["train", *TINY, "--encoders", encoders_folder, "--out", tmp_path / "run"]
    for status, told in ends([tmp_path, tmp_path], [ROOT, code], *options):
        assert status == 2, told
        assert "train: rank 1 has another code than rank 0: " in told
    assert not (tmp_path / "run").exists()


SHARD = "shard data/train/shard-000001.tar"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("missing", f"the run cannot begin: rank 1: FileNotFoundError: {SHARD} is missing"),
        (
            "unequal",
            f"the run cannot begin: rank 1: DataError: {SHARD} holds 3 samples, but shards.json says 7",
        ),
        ("fewer", "rank 1 has another number of images than rank 0: 17 instead of 24"),
    ],
)
def test_a_rank_with_other_shards_stops_all(
    encoders_folder: Path, tmp_path: Path, fault: str, told: str
) -> None:
    """Each machine has a copy of its own, at the same path."""
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        export_birds("shards", folder / "data", images={"train": 24}, size=32, per_shard=7)
    train = folders[1] / "data" / "train"
    if fault == "missing":
        (train / "shard-000001.tar").unlink()
    elif fault == "unequal":
        shutil.copy(train / "shard-000003.tar", train / "shard-000001.tar")
    else:  # a copy that is whole in itself
        index = json.loads((train / "shards.json").read_text())
        del index["shards"][1]
        (train / "shards.json").write_text(json.dumps(index))
        (train / "shard-000001.tar").unlink()
    options = ["train", *TINY, "--data.layout", "shards", "--data.root", "data"]
    options += ["--encoders", encoders_folder, "--out", tmp_path / "run"]
    (first, said), (second, own) = ends(folders, [ROOT, ROOT], *options)
    assert (first, second) == (2, 2), (said, own)
    assert told in said, "rank 0 says what rank 1 saw"
    assert told.split("Error: ")[-1] in own
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_processes_do_not_go_on_with_another_configuration(encoders_folder: Path, tmp_path: Path) -> None:
    options = ["train", *TINY, "--encoders", encoders_folder, "--out", tmp_path / "run"]
    assert run(*options, "--train.images", "8", processes=2).returncode == 0
    before = sorted((tmp_path / "run" / "checkpoints").iterdir())
    done = run(*options, "--train.images", "16", "--resume", "--train.ema-decay", "0.5", processes=2)
    assert done.returncode != 0
    assert done.stderr.count("was made with train.ema_decay = ") == 2, done.stderr
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == before
