"""``data``: look at the embedded birds, write them as files, check or shard a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from reference_models.dmgan.errors import DmganError


def main(argv: list[str]) -> int:
    """Run one of ``render``, ``export``, ``check`` and ``shard``."""
    options = _parser().parse_args(argv)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="data", description=__doc__)
    forms = parser.add_subparsers(required=True, metavar="FORM")

    render = forms.add_parser("render", help="a contact sheet of the embedded birds with their captions")
    render.add_argument("--out", type=Path, default=Path("sheet.png"))
    render.add_argument("--split", default="train", choices=("train", "validation", "test"))
    render.add_argument("--columns", type=int, default=6)
    render.add_argument("--rows", type=int, default=4)
    render.add_argument("--size", type=int, default=256, help="pixels of a picture")
    render.add_argument("--seed", type=int, default=0)
    render.set_defaults(run=_render)

    export = forms.add_parser("export", help="the embedded birds as files")
    export.add_argument("--layout", required=True, choices=("cub", "folder", "shards"))
    export.add_argument("--out", type=Path, required=True, help="an empty folder, or one to be made")
    export.add_argument("--train", type=int, default=8_855, help="images; CUB's count if not given")
    export.add_argument("--test", type=int, default=2_933)
    export.add_argument("--size", type=int, default=256)
    export.add_argument("--seed", type=int, default=0)
    export.set_defaults(run=_export)

    check = forms.add_parser("check", help="open every image and caption, and tell what is wrong")
    check.add_argument("root", type=Path)
    check.add_argument(
        "--layout", choices=("cub", "coco", "flowers", "folder", "shards"), help="told from the files"
    )
    check.set_defaults(run=_check)

    shard = forms.add_parser("shard", help="a folder with metadata.jsonl, or a released layout, as shards")
    shard.add_argument("root", type=Path)
    shard.add_argument("--out", type=Path, required=True)
    shard.add_argument("--split", default="train")
    shard.add_argument("--per-shard", type=int, default=1000)
    shard.set_defaults(run=_shard)
    return parser


def _render(options: argparse.Namespace) -> int:
    from reference_models.dmgan.data.birds.sheet import contact_sheet

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

    images = {"train": options.train, "test": options.test}
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
    paths = shard_folder(options.root, options.split, options.out, per_shard=options.per_shard)
    print(f"wrote {len(paths)} shards to {options.out / options.split}")
    return 0
