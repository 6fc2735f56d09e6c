"""What a run tells: one JSON line every few steps, and a bar or plain lines on the terminal."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.files import write_atomically


class TrainingLog:
    """Appends JSON lines to ``path`` (each flushed whole), shows progress, and feeds TensorBoard when asked."""

    def __init__(
        self, path: Path, total: int, *, what: str, tensorboard: bool = False, quiet: bool = False
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.total, self.what, self.quiet = path, total, what, quiet
        torn = _is_torn(path)
        self._file: TextIO = open(path, "a", encoding="utf-8")  # noqa: SIM115  (closed in close)
        if torn:  # a killed process left half a line: ours must not be glued to it
            self._file.write("\n")
        self._began = time.perf_counter()
        self._start: int | None = None
        self._bar = self._make_bar() if sys.stderr.isatty() and not quiet else None
        self._board = _tensorboard(path.parent) if tensorboard else None

    def write(self, done: int, values: dict[str, Any]) -> None:
        """One line: ``done`` of the total units (images), and the step's values."""
        now = time.perf_counter()
        if self._start is None:
            self._start = done
        rate = (done - self._start) / max(now - self._began, 1e-9)
        line = {"images": done, **{key: _rounded(value) for key, value in values.items()}}
        line |= {"images_per_second": round(rate, 2), "seconds": round(now - self._began, 2)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(key, value, done)
        self._show(done, values, rate)

    def started(self, done: int) -> None:
        """Count speed from here: ``done`` units were made by an earlier process.

        What it logged beyond them, behind its last checkpoint, is made again and goes.
        """
        kept = [line for line in read_log(self.path) if line["images"] <= done]
        if len(kept) < len(read_log(self.path)):
            self._file.close()
            with write_atomically(self.path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (closed in close)
        self._start, self._began = done, time.perf_counter()

    def say(self, text: str) -> None:
        """A sentence for the person at the terminal."""
        if not self.quiet:
            (self._bar.console.print if self._bar else print)(text)

    def close(self) -> None:
        """Flush and close everything."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        with suppress(OSError):  # a full disk, which a line has told already
            self._file.close()

    def _show(self, done: int, values: dict[str, Any], rate: float) -> None:
        if self.quiet:
            return
        told = "  ".join(f"{key} {value:.3f}" for key, value in values.items() if isinstance(value, float))
        if self._bar is not None:
            self._bar.update(self._task, completed=done, losses=told, rate=f"{rate:.1f} images/s")
            return
        left = (self.total - done) / rate if rate > 0 else 0.0
        print(
            f"{self.what} {done}/{self.total}  {rate:.1f} images/s  {left / 60:.1f} min left  {told}",
            flush=True,
        )

    def _make_bar(self) -> Any:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} images"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        self._task = bar.add_task(self.what, total=self.total, losses="", rate="")
        bar.start()
        return bar


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a last line that a killed process left half written is dropped."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def _is_torn(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _rounded(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard was asked for and is not installed: pip install tensorboard"
        ) from error
    return SummaryWriter(folder / "tensorboard")
