"""An option that cannot be is refused by name in one sentence, by every command that has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reference_models.dmgan import command_line
from reference_models.dmgan.__main__ import main
from reference_models.dmgan.errors import CheckpointError, ConfigError
from reference_models.dmgan.sampling import SHIPPED
from reference_models.dmgan.training.weights import read_config

SAMPLE = ["sample", "a red bird"]
EVALUATE = ["evaluate", "--model", str(SHIPPED), "--count", "6"]
TRAIN = ["train", "--encoders", str(SHIPPED), "--data.images", "40"]
PRETRAIN = ["pretrain", "--data.images", "50"]
DEMO = ["demo", "--count", "0", "--minutes", "0"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([*SAMPLE, "--seed", "-1"], "`seed` must be at least 0, got -1"),
        ([*SAMPLE, "--batch-size", "0"], "`batch_size` must be at least 1, got 0"),
        ([*SAMPLE, "--threads", "0"], "`--threads` must be at least 1, got 0"),
        ([*SAMPLE, "--device", "cudda"], "`--device cudda` is no device"),
        ([*SAMPLE, "--device", "cuda:99"], "`--device cuda:99`: torch sees"),
        ([*SAMPLE, "--device", "meta"], "`--device meta` computes nothing"),
        ([*EVALUATE, "--batch", "0"], "`batch` must be at least 1, got 0"),
        ([*EVALUATE, "--seed", "-1"], "`seed` must be at least 0, got -1"),
        ([*EVALUATE, "--device", "cuda:99"], "`--device cuda:99`: torch sees"),
        ([*TRAIN, "--device", "cuda:99"], "`--device cuda:99`: torch sees"),
        ([*TRAIN, "--data.workers", "-1"], "`data.workers` must be at least 0, got -1"),
        ([*PRETRAIN, "--threads", "-2"], "`--threads` must be at least 1, got -2"),
        (
            [*PRETRAIN, "--image-encoder.kind", "inception"],
            "`--image-encoder.weights FILE` must be Inception-v3's",
        ),
        ([*TRAIN, "--train.sample-every", "0"], "`train.sample_every` must be at least 1, got 0"),
        ([*DEMO, "--drawings", "0"], "`drawings` must be at least 1, got 0"),
        ([*DEMO, "--seed", "-1"], "`seed` must be at least 0, got -1"),
    ],
)
def test_it_is_named(
    command: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert f"{command[0]}: {told}" in capsys.readouterr().err
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "command",
    [TRAIN, ["data", "render", "--size", "32"], ["data", "export", "--layout", "folder", "--train", "1"]],
)
def test_a_file_that_is_in_the_way_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    out = tmp_path / "out" / "sheet.png" if "render" in command else tmp_path / "out"
    assert main([*command, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{command[0]}: ")
    assert str(tmp_path / "out") in told
    assert (tmp_path / "out").read_text() == "mine"


def test_a_user_who_stops_it_gets_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(argv: list[str]) -> int:
        raise KeyboardInterrupt

    assert command_line.run("train", stopped, []) == 130
    assert capsys.readouterr().err == "train: stopped\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "must hold named fields"),
        (b"\xff\xfe", "is not a configuration"),
        (b'{"name": "x", "train": 3}', "config.train must hold named fields, got 3"),
        (b'{"name": "x", "train": {"batch_size": "many"}}', "is not a configuration"),
        (b"{}", "is not a configuration"),
    ],
)
def test_a_damaged_configuration_is_named(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises((CheckpointError, ConfigError), match=told) as error:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["render", "--size", "0"], "argument --size: must be a whole number of at least 32, got 0"),
        (["render", "--seed", "-1"], "argument --seed: must be a whole number of at least 0, got -1"),
        (
            ["images", "somewhere", "--size", "big"],
            "argument --size: must be a whole number of at least 1, got big",
        ),
    ],
)
def test_numbers_of_data_are_named(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["data", *options, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err


def test_a_sheet_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "render", "--out", str(tmp_path)]) == 2
    assert f"data: --out {tmp_path} is a folder: name a file" in capsys.readouterr().err
