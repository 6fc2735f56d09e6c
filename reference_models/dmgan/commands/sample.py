"""``sample``: captions in, PNG images out."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reference_models.dmgan.commands.options import set_threads
from reference_models.dmgan.errors import DataError


def main(argv: list[str]) -> int:
    """Parse ``argv``, draw, and write one PNG a caption while the next batch computes."""
    parser = argparse.ArgumentParser(prog="sample", description=__doc__)
    parser.add_argument("captions", nargs="*", help="one image each")
    parser.add_argument("--captions-file", type=Path, help="more captions, one a line")
    parser.add_argument("--model", type=Path, help="a run's folder; the shipped model if not given")
    parser.add_argument("--out", type=Path, default=Path("samples"))
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16: faster, nearly the same",
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    set_threads(options.threads)
    from reference_models.dmgan.sampling import SHIPPED, generate, load_model
    from reference_models.dmgan.training.distributed import usable_device

    captions = [*options.captions, *_read(options.captions_file)]
    if not captions:
        raise DataError("no captions: write them on the command line or name a --captions-file")
    model = load_model(options.model or SHIPPED, device=usable_device(options.device))
    pictures = generate(
        model, captions, seed=options.seed, batch_size=options.batch_size, precision=options.precision
    )
    with ThreadPoolExecutor(1) as disk:
        written = [disk.submit(_write, options.out / f"{drawn.index:05d}.png", drawn) for drawn in pictures]
    for path in sorted(job.result() for job in written):
        print(path)
    return 0


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


def _write(path: Path, drawn: object) -> Path:
    from PIL import Image

    from reference_models.dmgan.files import write_atomically
    from reference_models.dmgan.training.grid import to_uint8

    pixels = to_uint8(drawn.images[-1][None])[0]  # type: ignore[attr-defined]
    with write_atomically(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
    if drawn.unknown:  # type: ignore[attr-defined]
        print(f"{path.name}: left out unknown words: {', '.join(drawn.unknown)}")  # type: ignore[attr-defined]
    return path
