"""CUB, COCO and flowers as the release keeps them: pickles of names, captions and classes beside the images.

::

    captions.pickle                    [train captions, test captions, id → word, word → id]; may be missing
    train/filenames.pickle             keys, in the order of the captions; test/ likewise
    train/class_info.pickle            class of each image; missing (COCO): each image is a class
    text/<key>.txt                     one caption a line
    images/<key>.jpg                   or CUB_200_2011/{images/<key>.jpg, images.txt, bounding_boxes.txt}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reference_models.dmgan.data.batch import Item
from reference_models.dmgan.data.boxes import read_boxes
from reference_models.dmgan.data.images import crop_to_box, open_image, prepare
from reference_models.dmgan.data.sentences import shorten, text_lines
from reference_models.dmgan.data.unpickle import read_pickle
from reference_models.dmgan.data.vocabulary import END, Vocabulary
from reference_models.dmgan.errors import DataError

SPLITS = ("train", "test")
EVALUATION_WORDS = {"cub": 25, "flowers": 25, "coco": 20}  # the release's limits outside training


class ReleasedLayout:
    """One split of a folder in the release's layout: implements :class:`~...data.batch.CaptionedImages`.

    Args:
        root: the folder that holds ``train``, ``test`` and the images.
        split: ``train`` or ``test``.
        layout: ``cub``, ``coco`` or ``flowers``: sets the word limit outside training.
        size: pixels of the images that are given out.
        max_words: in training; a longer caption is sub-sampled.
    """

    def __init__(
        self, root: Path | str, split: str, *, layout: str = "cub", size: int = 256, max_words: int = 18
    ) -> None:
        if split not in SPLITS:
            raise DataError(
                f"`split` must be one of {', '.join(SPLITS)} for the released layouts, got {split!r}"
            )
        self.root, self.split, self.size = Path(root), split, size
        self.limits = {True: max_words, False: EVALUATION_WORDS[layout]}
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no data folder {self.root}")
        self.keys = read_keys(self.root, split)
        self.from_pickle = (self.root / "captions.pickle").is_file()
        self.vocabulary, self.captions = read_captions(self.root, split, self.keys)
        self.class_ids = _read_classes(self.root, split, len(self.keys))
        self.boxes = read_boxes(self.root)
        self._images = image_folder(self.root)

    def __len__(self) -> int:
        return len(self.keys)

    def path(self, index: int) -> Path:
        """Where image ``index`` lies."""
        return self._images / f"{self.keys[index]}.jpg"

    def class_id(self, index: int) -> int:
        """The class of image ``index``."""
        return self.class_ids[index]

    def texts(self, index: int) -> list[str]:
        """All captions of image ``index``, in the words of the vocabulary."""
        return [self.vocabulary.decode(ids) for ids in self.captions[index]]

    def picture(self, index: int) -> Image.Image:
        """Image ``index``: whole, or the square around CUB's box."""
        image = open_image(self.path(index))
        if self.boxes is None:
            return image
        key = self.keys[index]
        if key not in self.boxes:
            raise DataError(f"{self.root / 'CUB_200_2011' / 'bounding_boxes.txt'} has no box of {key!r}")
        try:
            return crop_to_box(image, self.boxes[key])
        except DataError as error:
            raise DataError(f"{self.path(index)}: {error}") from error

    def item(self, index: int, rng: np.random.Generator, *, train: bool) -> Item:
        """Image ``index``; in training any of its captions, a random crop and a random flip."""
        if not 0 <= index < len(self):
            raise DataError(f"`index` must be in 0..{len(self) - 1}, got {index}")
        captions = self.captions[index]
        ids = captions[int(rng.integers(len(captions))) if train else 0]
        return Item(
            image=prepare(self.picture(index), self.size, rng if train else None),
            caption=shorten(ids, self.limits[train], rng),
            text=self.vocabulary.decode(ids),
            class_id=self.class_ids[index],
            key=self.keys[index],
        )


def image_folder(root: Path) -> Path:
    """``CUB_200_2011/images`` or ``images``."""
    for folder in (root / "CUB_200_2011" / "images", root / "images"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{root} holds neither CUB_200_2011/images nor images")


def read_keys(root: Path, split: str) -> list[str]:
    """``<split>/filenames.pickle``: the images' names without ``.jpg``."""
    path = root / split / "filenames.pickle"
    keys = read_pickle(path)
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys) or not keys:
        raise DataError(f"{path} must hold a list of names, got {_kind(keys)}")
    for key in keys:
        if key.startswith("/") or ".." in key.split("/"):
            raise DataError(f"{path}: a name must lie inside the folder of images, got {key!r}")
    return list(keys)


def read_captions(root: Path, split: str, keys: Sequence[str]) -> tuple[Vocabulary, list[list[list[int]]]]:
    """The vocabulary, and the captions of each image as word ids: from ``captions.pickle``, else from ``text``."""
    path = root / "captions.pickle"
    if not path.is_file():
        return _captions_from_text(root, split, keys)
    train, test, vocabulary = read_caption_pickle(path)
    chosen = train if split == "train" else test
    each, rest = divmod(len(chosen), len(keys))
    if rest or not each:
        raise DataError(
            f"{path} has {len(chosen)} {split} captions for {len(keys)} images of {split}/filenames.pickle: "
            "each image needs equally many"
        )
    grouped = [chosen[index * each : (index + 1) * each] for index in range(len(keys))]
    return vocabulary, [_not_empty(captions, key, path) for captions, key in zip(grouped, keys)]


def read_caption_pickle(path: Path) -> tuple[list[list[int]], list[list[int]], Vocabulary]:
    """``captions.pickle``: train captions, test captions, vocabulary."""
    content = read_pickle(path)
    if not isinstance(content, (list, tuple)) or len(content) != 4 or not isinstance(content[2], dict):
        raise DataError(
            f"{path} must hold [train captions, test captions, id → word, word → id], got {_kind(content)}"
        )
    train, test, words, _ = content
    if set(words) != set(range(len(words))) or words[0] != END:
        raise DataError(
            f"{path}: the ids of its {len(words)} words must be 0 to {len(words) - 1}, and 0 must be {END!r}"
        )
    listed = [words[index] for index in range(len(words))]
    if not all(isinstance(word, str) for word in listed):
        raise DataError(
            f"{path}: id → word must give text, got {next(w for w in listed if type(w) is not str)!r}"
        )
    vocabulary = Vocabulary.named(listed, path)
    return _ids(train, len(words), path), _ids(test, len(words), path), vocabulary


def _ids(captions: Any, words: int, path: Path) -> list[list[int]]:
    try:
        plain = [[int(index) for index in caption] for caption in captions]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: captions must be lists of word ids ({error})") from error
    for caption in plain:
        for index in caption:
            if not 0 < index < words:
                raise DataError(f"{path}: a caption has the id {index}, ids of words are 1 to {words - 1}")
    return plain


def _captions_from_text(
    root: Path, split: str, keys: Sequence[str]
) -> tuple[Vocabulary, list[list[list[int]]]]:
    texts = {
        part: [[text for _, text in _lines(root, key)] for key in read_keys(root, part)]
        for part in SPLITS
        if (root / part).is_dir()
    }
    vocabulary = Vocabulary.from_captions(
        text for part in SPLITS for lines in texts.get(part, []) for text in lines
    )
    encoded = [[vocabulary.encode(text) for text in lines] for lines in texts[split]]
    return vocabulary, [_not_empty(captions, key, root / "text") for captions, key in zip(encoded, keys)]


def _lines(root: Path, key: str) -> list[tuple[int, str]]:
    path = root / "text" / f"{key}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"there is no caption file {path}, and no {root / 'captions.pickle'}")
    return caption_lines(path)


def caption_lines(path: Path) -> list[tuple[int, str]]:
    """The captions of a text file, each with its line's number; empty lines are left out."""
    return list(text_lines(path))


def _not_empty(captions: list[list[int]], key: str, where: Path) -> list[list[int]]:
    kept = [ids for ids in captions if ids]
    if not kept:
        raise DataError(f"{where}: image {key!r} has no caption with a word in it")
    return kept


def _read_classes(root: Path, split: str, count: int) -> list[int]:
    path = root / split / "class_info.pickle"
    if not path.is_file():
        return list(range(count))  # every image its own class
    content = read_pickle(path)
    try:
        classes = [int(value) for value in content]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} must hold a list of class ids, got {_kind(content)} ({error})") from error
    if len(classes) != count:
        raise DataError(f"{path} has {len(classes)} classes for {count} images of filenames.pickle")
    return classes


def _kind(value: Any) -> str:
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"{type(value).__name__}{size}"
