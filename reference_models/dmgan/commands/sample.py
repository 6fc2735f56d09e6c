"""``sample``: captions in, PNG images out."""

from __future__ import annotations

import argparse
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from reference_models.dmgan.commands.options import set_threads
from reference_models.dmgan.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from reference_models.dmgan.sampling import Drawn


def main(argv: list[str]) -> int:
    """Parse ``argv``, draw, and write one PNG a caption while the next batch computes."""
    parser = argparse.ArgumentParser(prog="sample", description=__doc__)
    parser.add_argument("captions", nargs="*", help="one image each")
    parser.add_argument("--captions-file", type=Path, help="more captions, one a line")
    parser.add_argument("--model", type=Path, help="a run's folder; the shipped model if not given")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("samples"),
        help="folder of the pictures, 00000.png and so on in the order of the captions; default: samples. One that "
        "holds more pictures of an earlier call is refused, since they would be taken for this one's",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--batch-size", type=int, default=16, help="captions drawn at a time; default: 16")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16: faster, nearly the same",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1, for instance; default: cpu")
    options = parser.parse_args(argv)
    set_threads(options.threads)
    from reference_models.dmgan.sampling import SHIPPED, generate, load_model
    from reference_models.dmgan.training.distributed import usable_device

    captions = [*options.captions, *_read(options.captions_file)]
    if not captions:
        raise DataError("no captions: write them on the command line or name a --captions-file")
    _refuse_others(options.out, len(captions))
    model = load_model(options.model or SHIPPED, device=usable_device(options.device))
    pictures = generate(
        model, captions, seed=options.seed, batch_size=options.batch_size, precision=options.precision
    )
    for path in sorted(_write_all(pictures, options.out, waiting=2 * options.batch_size)):
        print(path)
    return 0


def _write_all(pictures: Iterator[Drawn], out: Path, *, waiting: int) -> list[Path]:
    """Write each picture while the next are drawn; at most ``waiting`` of them are held, as 8-bit pixels."""
    from reference_models.dmgan.training.grid import to_uint8

    written: list[Path] = []
    jobs: deque[Future[Path]] = deque()
    with ThreadPoolExecutor(1) as disk:
        for drawn in pictures:
            path = out / f"{drawn.index:05d}.png"
            if drawn.unknown:
                print(f"{path.name}: left out unknown words: {', '.join(drawn.unknown)}")
            if len(jobs) == waiting:
                written.append(jobs.popleft().result())
            jobs.append(disk.submit(_write, path, to_uint8(drawn.images[-1][None])[0]))
        written += [job.result() for job in jobs]
    return written


def _refuse_others(out: Path, count: int) -> None:
    """An earlier call's pictures that this one does not replace would be scored with its own."""
    names = (path.stem for path in out.glob("*.png")) if out.is_dir() else ()
    others = sorted(name for name in names if re.fullmatch(r"\d{5,}", name) and int(name) >= count)
    if others:
        raise ConfigError(
            f"--out {out} holds {others[0]}.png, of an earlier call with more captions than these {count}: choose "
            "another folder, or remove its pictures first"
        )


def _read(path: Path | None) -> list[str]:
    if path is None:
        return []
    if not path.is_file():
        raise FileNotFoundError(f"there is no captions file {path}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} must be UTF-8 text, one caption a line ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def _write(path: Path, pixels: np.ndarray) -> Path:
    from PIL import Image

    from reference_models.dmgan.files import write_atomically

    with write_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
    return path
