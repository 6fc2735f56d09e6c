"""The command line: every command that is listed exists, and a mistake is told in a sentence."""

from __future__ import annotations

import importlib

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
    monkeypatch.setattr("reference_models.dmgan.allocation.keep_freed_memory", lambda: kept.append(True))
    assert main(["ablate", "--help"]) == 0
    assert kept == [True]
