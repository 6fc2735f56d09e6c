"""``data``: look at the embedded birds, write them as files; check, shard or prepare any data set for evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from reference_models.dmgan.commands.options import refuse_folder, warn
from reference_models.dmgan.errors import ConfigError, DmganError

LAYOUTS = ("cub", "coco", "flowers", "folder", "shards")


def at_least(least: int) -> Callable[[str], int]:
    """What argparse calls for a whole number that must not be less."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text}")
        return int(text)

    return number


def main(argv: list[str]) -> int:
    """Run one of ``render``, ``export``, ``check``, ``shard``, ``captions`` and ``images``."""
    options = _parser().parse_args(argv)
    status: int = options.run(options)
    return status


def _root(text: str) -> Path | str:
    from reference_models.dmgan.data.open import data_root

    return data_root(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="data", description=__doc__)
    forms = parser.add_subparsers(required=True, metavar="FORM")

    render = forms.add_parser("render", help="a contact sheet of the embedded birds with their captions")
    render.add_argument("--out", type=Path, default=Path("sheet.png"))
    render.add_argument("--split", default="train", choices=("train", "validation", "test"))
    render.add_argument("--columns", type=at_least(1), default=6)
    render.add_argument("--rows", type=at_least(1), default=4)
    render.add_argument("--size", type=at_least(32), default=256, help="pixels of a picture")
    render.add_argument("--seed", type=at_least(0), default=0)
    render.set_defaults(run=_render)

    export = forms.add_parser("export", help="the embedded birds as files")
    export.add_argument("--layout", required=True, choices=("cub", "folder", "shards"))
    export.add_argument("--out", type=Path, required=True, help="an empty folder, or one to be made")
    export.add_argument(
        "--train", type=at_least(0), default=8_855, help="images; CUB's count if not given; 0: no such split"
    )
    export.add_argument("--test", type=at_least(0), default=2_933, help="likewise")
    export.add_argument("--size", type=at_least(1), default=256)
    export.add_argument("--seed", type=at_least(0), default=0)
    export.set_defaults(run=_export)

    check = forms.add_parser("check", help="open every image and caption, and tell what is wrong")
    check.add_argument("root", type=_root, help="a folder, or an address of shards")
    check.add_argument("--layout", choices=LAYOUTS, help="told from the files if not given")
    check.set_defaults(run=_check)

    shard = forms.add_parser("shard", help="a folder with metadata.jsonl, or a released layout, as shards")
    shard.add_argument("root", type=Path)
    shard.add_argument(
        "--out", type=Path, required=True, help="folder; the split's shards are a folder in it"
    )
    shard.add_argument("--split", default="train", help="which folder of root; default: train")
    shard.add_argument("--per-shard", type=at_least(1), default=1000, help="images; default: 1000")
    shard.add_argument(
        "--crop",
        action="store_true",
        help="CUB: the squares around the boxes, as PNG; without it images stay whole",
    )
    shard.set_defaults(run=_shard)

    captions = forms.add_parser("captions", help="random captions, one a line, for sample --captions-file")
    images = forms.add_parser("images", help="the real images as PNG, for evaluate --real")
    for form in (captions, images):
        form.add_argument("root", type=_root, help="a folder, or an address of shards")
        form.add_argument(
            "--split", default="test", help="default: test; all images of a root without splits"
        )
        form.add_argument("--layout", choices=LAYOUTS, help="told from the files if not given")
        form.add_argument("--out", type=Path, required=True)
    captions.add_argument(
        "--count", type=at_least(1), default=30_000, help="the release's count if not given"
    )
    captions.add_argument("--seed", type=at_least(0), default=0)
    captions.add_argument(
        "--max-words", type=at_least(1), help="25 for cub and flowers, 20 for coco, else all if not given"
    )
    captions.set_defaults(run=_captions)
    images.add_argument("--size", type=at_least(1), default=256, help="pixels")
    images.set_defaults(run=_images)
    return parser


def _render(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.birds.sheet import contact_sheet

    refuse_folder(options.out)
    path = contact_sheet(
        options.split,
        options.out,
        columns=options.columns,
        rows=options.rows,
        size=options.size,
        seed=options.seed,
    )
    print(f"wrote {path}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.export import export_birds

    asked = {"train": options.train, "test": options.test}
    images = {split: count for split, count in asked.items() if count}
    if not images:
        raise ConfigError("`--train` and `--test` must not both be 0: there would be nothing to write")
    out = export_birds(
        options.layout, options.out, images=images, size=options.size, seed=options.seed, say=print
    )
    print(f"wrote {out}")
    return 0


def _check(options: argparse.Namespace) -> int:
    """Exit status 1 where something is wrong."""
    from reference_models.dmgan.data.check import check

    found = check(options.root, layout=options.layout)
    print(f"layout: {found.layout}")
    print("\n".join(found.lines))
    for fault in found.faults:
        print(f"WRONG  {fault}")
    print(f"{len(found.faults)} faults" if found.faults else "nothing is wrong")
    return 1 if found.faults else 0


def _shard(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.resharding import shard_folder

    if options.out.exists() and any(options.out.iterdir()):
        raise DmganError(f"--out {options.out} is not an empty folder: choose another, or remove it first")
    paths = shard_folder(
        options.root, options.split, options.out, per_shard=options.per_shard, crop=options.crop
    )
    print(f"wrote {len(paths)} shards to {options.out / options.split}")
    return 0


def _captions(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.evaluation_set import random_captions, write_captions

    refuse_folder(options.out)
    chosen = random_captions(
        options.root,
        options.split,
        options.count,
        layout=options.layout,
        seed=options.seed,
        max_words=options.max_words,
        warn=warn,
    )
    print(f"wrote {len(chosen)} captions to {write_captions(chosen, options.out)}")
    return 0


def _images(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.evaluation_set import write_real_images

    count = write_real_images(
        options.root,
        options.split,
        options.out,
        layout=options.layout,
        size=options.size,
        say=print,
        warn=warn,
    )
    print(f"wrote {count} images to {options.out}")
    return 0
