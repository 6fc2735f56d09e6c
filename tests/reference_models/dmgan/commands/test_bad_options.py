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
FOLDERS = ["--real", "nowhere", "--fake", "nowhere"]
RETRIEVAL = ["evaluate", "retrieval", "--model", str(SHIPPED), "--data", "nowhere"]
ABLATE = ["ablate", "run", "--encoders", str(SHIPPED)]


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
        ([*TRAIN, "--minutes", "nan"], "`--minutes` must be at least 0, got nan"),
        ([*ABLATE, "--minutes", "-1"], "`--minutes` must be at least 0, got -1.0"),
        (["demo", "--minutes", "nan"], "`--minutes` must be at least 0, got nan"),
        (["evaluate", "train-judges", "--minutes", "-1"], "`--minutes` must be at least 0, got -1.0"),
        ([*TRAIN, "--data.workers", "-1"], "`data.workers` must be at least 0, got -1"),
        ([*PRETRAIN, "--threads", "-2"], "`--threads` must be at least 1, got -2"),
        (
            [*PRETRAIN, "--image-encoder.kind", "inception"],
            "`--image-encoder.weights FILE` must be Inception-v3's",
        ),
        ([*TRAIN, "--train.sample-every", "0"], "`train.sample_every` must be at least 1, got 0"),
        (["evaluate", *FOLDERS, "--batch", "0"], "`batch` must be at least 1, got 0"),
        (["evaluate", *FOLDERS, "--seed", "-1"], "`seed` must be at least 0, got -1"),
        (
            ["evaluate", *FOLDERS, "--count", "5"],
            "`--count` goes with `--run DIR` or `--model DIR`, not with",
        ),
        (["evaluate", *FOLDERS, "--workers", "2"], "`--workers` goes with `--run DIR` or `--model DIR`, not"),
        (
            ["evaluate", *FOLDERS, "--sha256", "ab"],
            "`--sha256` goes with `--extractor FILE`, which is not given",
        ),
        (
            ["evaluate", *FOLDERS, "--extractor", "x", "--networks", "y"],
            "`--networks` goes with `--real DIR --fake DIR` without `--extractor FILE`",
        ),
        ([*EVALUATE, "--extractor", "x"], "`--extractor` goes with `--real DIR --fake DIR`, not with"),
        ([*EVALUATE, "--sha256", "ab"], "`--sha256` goes with `--real DIR --fake DIR`, not with"),
        ([*RETRIEVAL, "--count", "0"], "`count` must be at least 1, got 0"),
        ([*RETRIEVAL, "--batch", "0"], "`batch` must be at least 1, got 0"),
        ([*RETRIEVAL, "--seed", "-1"], "`seed` must be at least 0, got -1"),
        (["evaluate", "train-judges", "--threads", "0"], "`--threads` must be at least 1, got 0"),
        (["ablate", "swaps", "--count", "0"], "`count` must be at least 1, got 0"),
        (["ablate", "swaps", "--seed", "-1"], "`seed` must be at least 0, got -1"),
        ([*ABLATE, "--count", "4"], "`count` must be at least 5, got 4"),
        (
            [*ABLATE, "--generator.first-size", "8"],
            "the networks that score birds see images of at least 64 pixels, this model's are of 32: raise "
            "`--generator.first-size`",
        ),
        (["demo", "--count", "3", "--minutes", "0"], "`count` must be at least 5, got 3"),
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


@pytest.mark.parametrize(
    "command",
    [
        ["data", "render"],
        ["data", "captions", "nowhere"],
        EVALUATE,
        ["evaluate", *FOLDERS],
        RETRIEVAL,
        ["report"],
        ["ablate", "swaps"],
    ],
)
def test_what_is_written_as_a_file_is_not_written_over_a_folder(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr()
    assert f"{command[0]}: --out {tmp_path} is a folder: name a file" in told.err
    assert told.out == "", "nothing was done before"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["evaluate"], "write them with `sample`, and score them with --real and --fake"),
        (["report"], "`--no-judge` leaves the judge out"),
        (["demo"], "`--count 0` leaves the evaluation and the judge out"),
        (["ablate", "swaps"], "the judge cannot look at them"),
    ],
)
def test_a_model_that_is_too_small_to_be_judged(
    command: list[str], told: str, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--model", str(model_folder), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"see images of at least 64 pixels, this model's are of 32: {told}" in error
