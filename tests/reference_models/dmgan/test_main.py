"""The command line: every command that is listed exists, and a mistake is told in a sentence."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from reference_models.dmgan.__main__ import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_can_be_asked_for_help(name: str, capsys: pytest.CaptureFixture) -> None:
    module = importlib.import_module(
        f"reference_models.dmgan.commands.{name if name != 'import' else 'import_'}"
    )
    try:
        code = module.main(["--help"])
    except SystemExit as stopped:  # argparse's way
        code = stopped.code
    assert code == 0
    assert name in capsys.readouterr().out


def test_help_lists_every_field_of_the_configuration(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "--train.batch-size" in told
    assert "--image-encoder.weights" in told


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)


def test_an_unknown_command_is_refused_with_the_list(capsys: pytest.CaptureFixture) -> None:
    assert main(["paint"]) == 2
    told = capsys.readouterr().err
    assert "unknown command 'paint'" in told
    assert "sample" in told


def test_every_command_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[bool] = []
    monkeypatch.setattr("reference_models.dmgan.command_line.keep_freed_memory", lambda: kept.append(True))
    assert main(["ablate", "--help"]) == 0
    assert kept == [True]


@pytest.mark.parametrize("name", ["shipping", "widening"])
def test_a_program_that_is_not_listed_tells_a_mistake_in_a_sentence_too(name: str, tmp_path: Path) -> None:
    options = ["--run" if name == "shipping" else "--model", tmp_path / "nowhere", "--out", tmp_path / "out"]
    program = [sys.executable, "-m", f"reference_models.dmgan.{name}", *options]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
