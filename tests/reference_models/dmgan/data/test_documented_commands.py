"""docs/data.md runs as printed: its Python, and its commands on fewer and smaller images."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from reference_models.dmgan.__main__ import main

PAGE = Path(__file__).parents[4] / "docs" / "data.md"
FEWER = {"export": ["--train", "4", "--test", "3", "--size", "32"], "render": ["--size", "48"]}


def test_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    namespace: dict[str, object] = {}
    ran = []
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "data.md", "exec"), namespace)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            command = shlex.split(line, comments=True)[3:]
            if command[0] == "data":  # training is run by its own tests
                assert main([*command, *FEWER.get(command[1], [])]) == 0, line
                ran.append(command[1])
    assert set(ran) == {"render", "check", "export", "shard"}
    assert (tmp_path / "sheet.png").is_file()
