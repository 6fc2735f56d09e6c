"""Captions and real images for an evaluation, from any layout."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.data.evaluation_set import random_captions
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.open import open_folder
from reference_models.dmgan.errors import ConfigError, DataError

COUNT = 5


@pytest.fixture(scope="module", params=["cub", "folder", "shards"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / request.param
    return export_birds(request.param, out, images={"train": 2, "test": COUNT}, size=32)


def test_every_image_comes_once_before_any_comes_again(root: Path) -> None:
    images = open_folder(root, "test")
    owners = {text: index for index in range(COUNT) for text in images.texts(index)}  # type: ignore[attr-defined]
    chosen = random_captions(root, "test", 2 * COUNT, max_words=40)
    for part in (chosen[:COUNT], chosen[COUNT:]):
        if all(
            text in owners for text in part
        ):  # the words of the vocabulary, without commas, in a CUB folder
            assert Counter(owners[text] for text in part) == Counter(range(COUNT))
        else:
            assert root.name != "cub"
    assert random_captions(root, "test", 2 * COUNT, max_words=40) == chosen
    assert random_captions(root, "test", 2 * COUNT, seed=1, max_words=40) != chosen


def test_long_captions_are_thinned(root: Path) -> None:
    whole = random_captions(root, "test", COUNT, max_words=40)
    short = random_captions(root, "test", COUNT, max_words=4)
    assert max(len(text.split()) for text in whole) > 4
    assert max(len(text.split()) for text in short) == 4


def test_both_commands(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions, real = tmp_path / "captions.txt", tmp_path / "real"
    assert main(["data", "captions", str(root), "--count", "7", "--out", str(captions)]) == 0
    assert len(captions.read_text().splitlines()) == 7
    command = ["data", "images", str(root), "--size", "24", "--out", str(real)]
    assert main(command) == 0
    images = open_folder(root, "test", size=24)
    assert len(list(real.iterdir())) == COUNT
    for index in range(COUNT):
        with Image.open(real / f"{index:06d}.png") as image:
            expected = images.item(index, np.random.default_rng(0), train=False).image
            assert np.array_equal(np.asarray(image), expected)
    assert main(command) == 2
    assert "is not an empty folder" in capsys.readouterr().err


def test_a_folder_without_splits_gives_all_of_it_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layout in ("folder", "shards"):
        root = export_birds(layout, tmp_path / layout, images={"train": 2, "test": 1}, size=32)
        for split in (root, root / "train"):
            told = f"note: {split} has no splits: all of its images are taken\n"
            out = tmp_path / f"{layout}{split.name}"
            assert main(["data", "captions", str(split), "--count", "2", "--out", f"{out}.txt"]) == 0
            assert (told in capsys.readouterr().err) is (split != root)
            assert main(["data", "images", str(split), "--size", "24", "--out", str(out)]) == 0
            assert (told in capsys.readouterr().err) is (split != root)


def test_bad_arguments_are_named(root: Path) -> None:
    with pytest.raises(DataError, match="`count` must be at least 1, got 0"):
        random_captions(root, "test", 0)
    assert issubclass(ConfigError, ValueError)
