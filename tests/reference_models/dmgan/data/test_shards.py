"""Shards: others can read them, each sample comes once an epoch, and what is missing is told."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.shards import ShardedImages
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.training.loader import batches

COUNT = 24


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return export_birds("shards", tmp_path / "shards", images={"train": COUNT}, size=16, per_shard=7)


def keys_of(
    images: ShardedImages, rank: int, *, start: int = 0, steps: int = 3, workers: int = 2
) -> list[str]:
    stream = batches(
        images,
        sizes=(16,),
        batch_size=8,
        seed=1,
        start=start,
        steps=steps,
        rank=rank,
        world=2,
        workers=workers,
    )
    return [key for batch in stream for key in batch.keys]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(root: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted((root / "train").glob("*.tar"))]
    assert len(urls) == 4
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert len(samples) == COUNT
    assert samples[0]["png"].size == (16, 16)
    assert len(samples[0]["json"]["captions"]) == 10
    gc.collect()  # the library leaves files open: let them be closed here, where that is no error


def test_each_sample_comes_once_an_epoch_for_two_ranks_of_two_workers(root: Path) -> None:
    images = ShardedImages(root, "train", size=16, max_words=40)
    seen = keys_of(images, 0) + keys_of(images, 1)
    assert len(seen) == COUNT
    assert len(set(seen)) == COUNT


def test_an_epoch_resumes_in_the_middle(root: Path) -> None:
    images = ShardedImages(root, "train", size=16, max_words=40)
    whole = keys_of(images, 0, steps=6, workers=0)
    assert keys_of(images, 0, start=2, steps=6, workers=0) == whole[8:]


def test_urls_and_pipes_are_copied_once(root: Path, tmp_path: Path) -> None:
    folder, cache = root / "train", tmp_path / "cache"
    index = json.loads((folder / "shards.json").read_text())
    first, second, *rest = index["shards"]
    moved = [tmp_path / entry["url"] for entry in (first, second)]
    for path, entry in zip(moved, (first, second)):
        (folder / entry["url"]).rename(path)
    first["url"], second["url"] = f"pipe:cat {moved[0]}", moved[1].as_uri()
    (folder / "shards.json").write_text(json.dumps({"shards": [first, second, *rest]}))
    images = ShardedImages(root, "train", size=16, max_words=40, cache_folder=cache)
    item = images.item(9, np.random.default_rng(0), train=False)
    for path in moved:
        path.unlink()
    again = ShardedImages(root, "train", size=16, max_words=40, cache_folder=cache)
    assert np.array_equal(again.item(9, np.random.default_rng(0), train=False).image, item.image)


@pytest.mark.parametrize("url", ["pipe:false", "pipe:no_such_command", "file:///no/such/shard.tar"])
def test_a_shard_that_cannot_be_fetched_leaves_nothing(root: Path, tmp_path: Path, url: str) -> None:
    path = root / "train" / "shards.json"
    path.write_text(json.dumps({"shards": [{"url": url, "samples": 7}]}))
    with pytest.raises(DataError, match="cannot be read"):
        ShardedImages(root, "train", cache_folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))


def test_missing_truncated_and_unequal_shards_are_named(root: Path) -> None:
    folder = root / "train"
    shard = folder / "shard-000001.tar"
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        DataError, match=r"shard-000001\.tar (is truncated|holds \d samples|: )|shard .*000001"
    ):
        ShardedImages(root, "train")
    shard.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"shard .*shard-000001\.tar is missing, though .*shards\.json lists it"
    ):
        ShardedImages(root, "train")
    shard.write_bytes((folder / "shard-000003.tar").read_bytes())
    with pytest.raises(DataError, match=r"shard-000001\.tar holds 3 samples, but shards\.json says 7"):
        ShardedImages(root, "train")
    (folder / "shards.json").unlink()
    with pytest.raises(FileNotFoundError, match="`data shard` writes one"):
        ShardedImages(root, "train")
