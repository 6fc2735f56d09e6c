"""The embedded birds as files: in the layout of the released CUB, as an image folder, or as shards."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from reference_models.dmgan.data.birds.dataset import CAPTIONS, Birds
from reference_models.dmgan.data.birds.render import bounding_box
from reference_models.dmgan.data.shards import Sample, write_shards
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.files import write_atomically

# The release knows two splits: its test species are ours.
SPLITS = ("train", "test")


def export_birds(
    layout: str,
    out: Path,
    *,
    images: dict[str, int],
    size: int = 256,
    seed: int = 0,
    per_shard: int = 1000,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write ``images[split]`` birds of each split to ``out``, in ``layout`` ``cub``, ``folder`` or ``shards``."""
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out} is not an empty folder: choose another, or remove it first")
    birds = {
        split: Birds(split, seed=seed, images=count, size=size, cached=False)
        for split, count in images.items()
    }
    if layout == "cub":
        _cub(birds, out, say)
    elif layout == "folder":
        _folder(birds, out, say)
    elif layout == "shards":
        for split, part in birds.items():
            write_shards(_samples(part, split, say), out / split, part.vocabulary, per_shard=per_shard)
    else:
        raise ConfigError(f"`--layout` must be cub, folder or shards, got {layout!r}")
    return out


def key_of(birds: Birds, index: int) -> str:
    """``017.species/bird_000123``, as CUB names its images."""
    return f"{birds.scenes.species_of(index):03d}.species/bird_{birds.split}_{index:06d}"


def _cub(birds: dict[str, Birds], out: Path, say: Callable[[str], None]) -> None:
    names, boxes, captions = [], [], {}
    for split, part in birds.items():
        keys = [key_of(part, index) for index in range(len(part))]
        captions[split] = []
        for index, key in enumerate(keys):
            said = [caption.text for caption in part.captions(index)]
            captions[split] += [part.vocabulary.encode(text) for text in said]
            _write_image(part.image(index), out / "CUB_200_2011" / "images" / f"{key}.jpg")
            with write_atomically(out / "text" / f"{key}.txt") as temporary:
                temporary.write_text("\n".join(said) + "\n")
            names.append(f"{key}.jpg")
            boxes.append(bounding_box(part.scenes(index), part.size))
            _tell(say, split, index, len(part))
        _write_pickle(keys, out / split / "filenames.pickle")
        classes = [part.scenes.species_of(index) for index in range(len(part))]
        _write_pickle(classes, out / split / "class_info.pickle")
    words = next(iter(birds.values())).vocabulary.words
    tables = {
        "images.txt": [f"{place} {name}" for place, name in enumerate(names, 1)],
        "bounding_boxes.txt": [
            f"{place} " + " ".join(f"{value:.1f}" for value in box) for place, box in enumerate(boxes, 1)
        ],
    }
    for name, lines in tables.items():
        with write_atomically(out / "CUB_200_2011" / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
    ids = dict(enumerate(words))
    both = [captions.get(split, []) for split in SPLITS]
    _write_pickle([*both, ids, {word: index for index, word in ids.items()}], out / "captions.pickle")


def _folder(birds: dict[str, Birds], out: Path, say: Callable[[str], None]) -> None:
    for split, part in birds.items():
        lines = []
        for index in range(len(part)):
            name = f"images/{key_of(part, index).replace('/', '_')}.png"
            _write_image(part.image(index), out / split / name)
            said = [caption.text for caption in part.captions(index)]
            lines.append({"file_name": name, "text": said, "class_id": part.scenes.species_of(index)})
            _tell(say, split, index, len(part))
        with write_atomically(out / split / "metadata.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
        part.vocabulary.to_json(out / "vocabulary.json")


def _samples(birds: Birds, split: str, say: Callable[[str], None]) -> Iterator[Sample]:
    for index in range(len(birds)):
        file = io.BytesIO()
        Image.fromarray(birds.image(index)).save(file, format="PNG")
        captions = tuple(birds.caption(index, number).text for number in range(CAPTIONS))
        key = key_of(birds, index).replace("/", "_").replace(".", "_")
        yield Sample(key, file.getvalue(), ".png", captions, birds.scenes.species_of(index))
        _tell(say, split, index, len(birds))


def _write_image(pixels: np.ndarray, path: Path) -> None:
    with write_atomically(path) as temporary:
        if path.suffix == ".png":
            Image.fromarray(pixels).save(temporary, format="PNG")
        else:
            Image.fromarray(pixels).save(temporary, format="JPEG", quality=95)


def _write_pickle(value: object, path: Path) -> None:
    """Protocol 2, the newest that Python 2 reads: anyone's copy of the released code can open it."""
    with write_atomically(path) as temporary:
        temporary.write_bytes(pickle.dumps(value, protocol=2))


def _tell(say: Callable[[str], None], split: str, index: int, count: int) -> None:
    if (index + 1) % 1000 == 0 or index + 1 == count:
        say(f"{split}: {index + 1}/{count} images")
