"""``import`` on the command line: what it writes and says, and its exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.config import TextConfig
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.released import encoders
from reference_models.dmgan.released.verify import VECTORS, released_state
from reference_models.dmgan.text_encoder import TextEncoder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A released-layout text encoder of four words."""
    path = tmp_path / "text_encoder200.pth"
    torch.save(released_state(TextEncoder(4, TextConfig(word_dim=6)), encoders.text_names()), path)
    return path


def test_writes_a_folder_and_says_so(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Vocabulary(("<end>", "a", "red", "bird")).to_json(tmp_path / "words.json")
    out = tmp_path / "out"
    argv = ["import", "--text-encoder", str(checkpoint), "--out", str(out)]
    assert main([*argv, "--vocabulary", str(tmp_path / "words.json")]) == 0
    printed = capsys.readouterr().out
    assert "sha256" in printed
    assert "text_encoder.safetensors" in printed
    assert "note:" not in printed
    assert Vocabulary.from_json(out / "vocabulary.json").words[2] == "red"
    shutil.rmtree(out)
    assert main(argv) == 0
    assert "note: without --vocabulary" in capsys.readouterr().out


def test_faults_are_one_sentence_and_exit_status_2(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    assert main(["import", "--text-encoder", str(checkpoint), *out]) == 2
    error = capsys.readouterr().err
    assert "text_encoder200.pth" in error
    assert "Traceback" not in error
    assert main(["import", "--generator", str(tmp_path / "none.pth"), *out]) == 2
    assert "none.pth" in capsys.readouterr().err
    assert main(["import", "--text-encoder", str(checkpoint)]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_kind_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, text = tmp_path / "tensors.pth", tmp_path / "text.pth"
    save_file({"a": torch.zeros(2)}, tensors)
    text.write_text("hello, these are no weights\n")
    for path, kind in ((tensors, "a safetensors file"), (text, "not a file that torch.save wrote")):
        assert main(["import", "--generator", str(path), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert f"{path} is {kind}: expected a" in error
        assert error.endswith("state dict, as torch.save writes it\n")


def test_verify_passes_here_and_fails_on_other_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reference_models.dmgan.released import verify

    monkeypatch.setattr(verify, "FILES", {name: verify.FILES[name] for name in ("text_encoder", "generator")})
    assert main(["import", "--verify"]) == 0
    assert capsys.readouterr().out.count("ok ") == 2
    with np.load(VECTORS / "generator.npz") as stored:
        np.savez(tmp_path / "generator.npz", **{**stored, "image0_stride4": stored["image0_stride4"] + 1})
    shutil.copy(VECTORS / "text_encoder.npz", tmp_path)
    assert main(["import", "--verify", "--vectors", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  generator" in printed
    assert "ok    text_encoder" in printed
