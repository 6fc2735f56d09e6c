"""``sample``: files whose names follow the captions, and one sentence where something is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.commands import sample
from reference_models.dmgan.sampling import Drawn


def test_one_png_a_caption_from_the_command_line_and_a_file(model_folder: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a small green bird\n\n  a bird with a black tail  \n", encoding="utf-8")
    out = tmp_path / "pictures"
    arguments = ["sample", "--model", str(model_folder), "--out", str(out), "--captions-file", str(captions)]
    assert main([*arguments, "a bird with a red crown"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["00000.png", "00001.png", "00002.png"]
    first = np.asarray(Image.open(out / "00000.png"))
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8


def test_the_same_seed_writes_the_same_bytes(model_folder: Path, tmp_path: Path) -> None:
    arguments = ["sample", "--model", str(model_folder), "a bird with a red crown"]
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        assert main([*arguments, "--out", str(tmp_path / name), "--seed", str(seed)]) == 0
    one, two, three = ((tmp_path / name / "00000.png").read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_bfloat16_by_choice_writes_nearly_the_same(model_folder: Path, tmp_path: Path) -> None:
    arguments = ["sample", "--model", str(model_folder), "a bird with a red crown"]
    assert main([*arguments, "--out", str(tmp_path / "exact")]) == 0
    assert main([*arguments, "--out", str(tmp_path / "near"), "--precision", "bfloat16"]) == 0
    exact, near = (
        np.asarray(Image.open(tmp_path / name / "00000.png")).astype(int) for name in ("exact", "near")
    )
    assert 0 < np.abs(exact - near).max() < 20


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no captions"),
        (["--captions-file", "nowhere.txt"], "there is no captions file nowhere.txt"),
        (["quixotic"], "no word that the model knows"),
        (["--model", "nowhere", "a bird"], "no model's folder nowhere"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], told: str
) -> None:
    model = [] if "--model" in arguments else ["--model", str(model_folder)]
    assert main(["sample", *model, "--out", str(tmp_path / "out"), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_captions_must_be_text(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes(b"\xff\xfe\x00")
    assert main(["sample", "--model", str(model_folder), "--captions-file", str(path)]) == 2
    assert "must be UTF-8 text" in capsys.readouterr().err


def test_pictures_of_an_earlier_call_are_not_mixed_in(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["sample", "--model", str(model_folder), "--out", str(tmp_path / "out")]
    assert main([*command, "a red bird", "a blue bird"]) == 0
    assert main([*command, "a red tail", "a blue tail"]) == 0, "all of them are replaced"
    before = (tmp_path / "out" / "00000.png").read_bytes()
    assert main([*command, "a black bird"]) == 2
    assert "00001.png, of an earlier call" in capsys.readouterr().err
    assert (tmp_path / "out" / "00000.png").read_bytes() == before


def test_a_slow_disk_holds_drawing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, most = 0, 0

    def slow(path: Path, pixels: np.ndarray) -> Path:
        nonlocal ended
        time.sleep(0.02)
        assert pixels.dtype == np.uint8
        assert pixels.base is None or pixels.base.nbytes < 10_000, "no more than its own pixels"
        ended += 1
        return path

    def pictures() -> Iterator[Drawn]:
        nonlocal most
        for index in range(20):
            most = max(most, index - ended)
            yield Drawn(index, "a bird", (), (torch.zeros(3, 32, 32),))

    monkeypatch.setattr(sample, "_write", slow)
    assert len(sample._write_all(pictures(), tmp_path, waiting=3)) == 20
    assert most <= 4
