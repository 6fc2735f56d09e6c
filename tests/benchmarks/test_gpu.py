"""The script for a GPU's few minutes: stores each part, says what is lacking, goes on where it was cut off."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks.common import commit
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import suite
from benchmarks.gpu.parts import PARTS, Part


def python(code: str) -> Part:
    """A part that runs ``code``, which finds the name of its result in ``result``."""
    return Part(
        "tried", 60, lambda arguments, result: [sys.executable, "-c", f"result = {str(result)!r}\n{code}"]
    )


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Run the script on some parts → its exit status and what it stored of each."""
    monkeypatch.setattr(gpu, "commit", lambda: "a commit")

    def run(parts: dict[str, Part], *words: str) -> tuple[int, dict[str, dict[str, object]]]:
        named = tuple(
            Part(name, part.seconds, part.command, part.lacking, part.together)
            for name, part in parts.items()
        )
        monkeypatch.setattr(gpu, "PARTS", named)
        monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path), *words])
        status = gpu.main()
        return status, json.loads((tmp_path / "gpu.json").read_text())["parts"]

    return run


def test_each_part_is_stored_with_what_it_found_and_said(call) -> None:  # type: ignore[no-untyped-def]
    good = python("open(result, 'w').write('{\"rate\": 3}'); print('hello')")
    lacking = Part("", 60, good.command, lambda: "ncu is not on the PATH")
    status, found = call({"good": good, "lacking": lacking})
    assert status == 0, "a tool that is lacking is no error"
    assert (found["good"]["status"], found["good"]["result"]) == ("ok", {"rate": 3})
    assert "hello" in str(found["good"]["said"])
    assert (found["lacking"]["status"], found["lacking"]["why"]) == ("unavailable", "ncu is not on the PATH")


def test_a_part_that_fails_or_hangs_stops_no_other(call) -> None:  # type: ignore[no-untyped-def]
    hangs = Part("", 1, python("import time; time.sleep(60)").command)
    begun = time.monotonic()
    status, found = call({"bad": python("raise SystemExit('broken')"), "hangs": hangs, "good": python("")})
    assert time.monotonic() - begun < 50
    assert status == 1
    assert [part["status"] for part in found.values()] == ["failed", "out of time", "ok"]
    assert "broken" in str(found["bad"]["said"])


def test_parts_that_measure_run_alone_behind_those_that_do_not(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    log = tmp_path / "order"

    def part(seconds: float, *, together: bool) -> Part:
        code = f"import time; time.sleep({seconds}); open({str(log)!r}, 'a').write(result.rsplit('.', 2)[1] + ' ')"
        return Part("", 60, python(code).command, together=together)

    kinds = {
        "slow": part(3, together=True),
        "quick": part(0, together=True),
        "measured": part(0, together=False),
    }
    status, _ = call(kinds)
    assert status == 0
    assert log.read_text().split() == ["quick", "slow", "measured"]
    assert "==== measured" in (tmp_path / "gpu.log").read_text()


def test_the_commit_is_what_is_said_of_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMGAN_COMMIT", "0123abc")
    assert commit.commit() == "0123abc"
    monkeypatch.delenv("MEMGAN_COMMIT")
    monkeypatch.setattr(commit, "_git", lambda *words: None)
    assert commit.commit().startswith("sources ")
    monkeypatch.setattr(commit, "_git", lambda *words: "abc" if words[0] == "rev-parse" else " M memgan/x.py")
    assert commit.commit() == "abc+"


def test_what_is_stored_is_not_run_again_unless_asked(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    count = python(f"open({str(tmp_path / 'runs')!r}, 'a').write('x')")
    runs = tmp_path / "runs"
    call({"one": count})
    call({"one": count})
    assert runs.read_text() == "x"
    call({"one": count}, "--only", "one")
    call({"one": count}, "--again")
    assert runs.read_text() == "xxx"


def test_another_commit_begins_anew_and_keeps_the_old(  # type: ignore[no-untyped-def]
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call({"one": python("")})
    monkeypatch.setattr(gpu, "commit", lambda: "another commit")
    _, found = call({"two": python("")})
    assert list(found) == ["two"]
    assert len(list(tmp_path.glob("gpu.*.json"))) == 1


def test_a_part_that_does_not_exist_is_refused_by_name(call, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit):
        call({"one": python("")}, "--only", "won")
    assert "no part is called won" in capsys.readouterr().err


def test_the_suite_s_settings_do_without_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "timeout" in suite.settings()
    monkeypatch.setattr(suite.importlib.util, "find_spec", lambda name: None)
    assert "timeout" not in suite.settings()
    assert "gpu: needs a CUDA device" in suite.settings()
    assert len({part.name for part in PARTS}) == len(PARTS)
