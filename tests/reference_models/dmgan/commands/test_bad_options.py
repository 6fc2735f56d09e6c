"""An option that cannot be is refused by name in one sentence, by every command that has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.sampling import SHIPPED

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
        ([*EVALUATE, "--batch", "0"], "`batch` must be at least 1, got 0"),
        ([*EVALUATE, "--seed", "-1"], "`seed` must be at least 0, got -1"),
        ([*EVALUATE, "--device", "cuda:99"], "`--device cuda:99`: torch sees"),
        ([*TRAIN, "--device", "cuda:99"], "`--device cuda:99`: torch sees"),
        ([*TRAIN, "--data.workers", "-1"], "`data.workers` must be at least 0, got -1"),
        ([*PRETRAIN, "--threads", "-2"], "`--threads` must be at least 1, got -2"),
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
