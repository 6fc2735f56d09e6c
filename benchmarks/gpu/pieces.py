"""Large files in pieces that can be brought home from a machine one by one, and put together on the next."""

from __future__ import annotations

import re
from pathlib import Path

from reference_models.dmgan.files import write_atomically

PIECE_BYTES = 15 << 20
_NAME = re.compile(r"(.+)\.(\d+)of(\d+)")


def cut(path: Path, folder: Path, *, size: int = PIECE_BYTES) -> list[Path]:
    """Write ``path`` to ``folder`` as ``NAME.1of3``, ``NAME.2of3``, ...: each of ``size`` bytes, the last of the rest.

    Pieces of other files that lie there are removed: one file at a time is carried.
    """
    content = path.read_bytes()
    count = max(1, -(-len(content) // size))
    pieces = [folder / f"{path.name}.{i + 1}of{count}" for i in range(count)]
    for i, piece in enumerate(pieces):
        with write_atomically(piece) as temporary:
            temporary.write_bytes(content[i * size : (i + 1) * size])
    for other in folder.iterdir():
        if _NAME.fullmatch(other.name) and other not in pieces:
            other.unlink()
    return pieces


def put_together(pieces: Path, folder: Path) -> list[Path]:
    """Write to ``folder`` every file whose pieces lie in the folder ``pieces``; the files.

    Raises:
        FileNotFoundError: a piece is missing; nothing is written of its file.
    """
    counts = {}
    for piece in sorted(pieces.iterdir()):
        if found := _NAME.fullmatch(piece.name):
            counts[found[1]] = int(found[3])
    whole = []
    for name, count in counts.items():
        parts = [pieces / f"{name}.{i + 1}of{count}" for i in range(count)]
        if missing := [part.name for part in parts if not part.is_file()]:
            raise FileNotFoundError(f"{pieces} lacks {', '.join(missing)}")
        with write_atomically(folder / name) as temporary, open(temporary, "wb") as file:
            for part in parts:
                file.write(part.read_bytes())
        whole.append(folder / name)
    return whole
