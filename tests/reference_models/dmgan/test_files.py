"""Files are whole or as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reference_models.dmgan.files import write_atomically


def test_a_file_appears_whole_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "text.txt"
    with write_atomically(path) as temporary:
        temporary.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert os.listdir(path.parent) == ["text.txt"]


def test_what_stood_there_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("before")

    def fail() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half of")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        fail()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["text.txt"]


def test_nothing_is_renamed_that_was_never_written(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("before")
    with pytest.raises(FileNotFoundError), write_atomically(path):
        pass
    assert path.read_text() == "before"
