"""Shards: others can read them, each sample comes once an epoch, and what is missing is told."""

from __future__ import annotations

import functools
import gc
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.config import DataConfig
from reference_models.dmgan.data.check import check
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.open import open_dataset, told_layout
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


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
def test_each_sample_comes_once_an_epoch_for_two_ranks_of_two_workers(root: Path) -> None:
    images = ShardedImages(root, "train", size=16, max_words=40)
    seen = keys_of(images, 0) + keys_of(images, 1)
    assert len(seen) == COUNT
    assert len(set(seen)) == COUNT


def test_an_epoch_resumes_in_the_middle(root: Path) -> None:
    images = ShardedImages(root, "train", size=16, max_words=40)
    whole = keys_of(images, 0, steps=6, workers=0)
    assert keys_of(images, 0, start=2, steps=6, workers=0) == whole[8:]


def test_urls_and_pipes_are_copied_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMGAN_PIPES", "1")
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
def test_a_shard_that_cannot_be_fetched_leaves_nothing(
    root: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMGAN_PIPES", "1")
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
    for tar in folder.glob("*.tar"):
        tar.unlink()
    with pytest.raises(FileNotFoundError, match="`data shard` writes an index"):
        ShardedImages(root, "train")


def test_a_command_in_an_index_is_not_run_unasked(root: Path, tmp_path: Path) -> None:
    made = tmp_path / "it_ran"
    path = root / "train" / "shards.json"
    path.write_text(json.dumps({"shards": [{"url": f"pipe:touch {made}", "samples": 1}]}))
    with pytest.raises(DataError, match=r"pipe:touch .* is a command.*set MEMGAN_PIPES=1 if you trust it"):
        ShardedImages(root, "train", cache_folder=tmp_path / "cache")
    assert not made.exists()


@pytest.fixture
def address(root: Path) -> Iterator[str]:
    """``root`` over HTTP."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Silent, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_whole_data_set_at_an_address(
    root: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMGAN_CACHE", str(tmp_path / "cache"))
    config = DataConfig(layout="shards", root=address, max_words=40)
    images, local = (
        open_dataset(config, "train", size=16),
        ShardedImages(root, "train", size=16, max_words=40),
    )
    assert images.vocabulary == local.vocabulary
    assert len(images) == COUNT
    for index in (0, COUNT - 1):
        items = [each.item(index, np.random.default_rng(0), train=True) for each in (images, local)]
        assert items[0].text == items[1].text
        assert np.array_equal(items[0].image, items[1].image)
    assert told_layout(address) == "shards"
    found = check(address)
    assert (found.layout, found.faults) == ("shards", [])
    assert found.lines[0] == f"train: {COUNT} of {COUNT} images can be read, 24 classes"
    assert main(["data", "check", address]) == 0
    out = tmp_path / "captions.txt"
    assert main(["data", "captions", address, "--split", "train", "--count", "3", "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 3
    with pytest.raises(DataError, match=r"test/shards\.json|shards\.json cannot be read: HTTP Error 404"):
        ShardedImages(address, "test")


def test_a_damaged_copy_is_fetched_again_and_a_damaged_original_never_kept(
    root: Path, address: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    ShardedImages(address, "train", cache_folder=cache)
    copies = sorted(cache.iterdir())
    assert len(copies) == 4
    whole = copies[0].read_bytes()
    copies[0].write_bytes(whole[:700])
    ShardedImages(address, "train", cache_folder=cache)
    assert copies[0].read_bytes() == whole
    for copy in copies:
        copy.unlink()
    first = root / "train" / "shard-000000.tar"
    first.write_bytes(first.read_bytes()[:700])
    with pytest.raises(DataError, match=r"shard-000000\.tar"):
        ShardedImages(address, "train", cache_folder=cache)
    assert not list(cache.iterdir())


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 30), (9, 99, 199)).save(file, format="PNG")
    return file.getvalue()


def test_shards_of_others_without_an_index(tmp_path: Path) -> None:
    members = {
        "a/0001.png": picture(),
        "a/0001.json": b'{"caption": "a blue bird", "url": "somewhere"}',
        "a/0002.png": picture(),
        "a/0002.txt": b"a red bird\n\nred all over\n",
        "a/0003.seg.png": b"another file of the sample",
        "a/0003.PNG": picture(),
        "a/0003.txt": "a café\n".encode(),
        "a/0003.cls": b"7",
    }
    packed(tmp_path / "part-0.tar", members)
    packed(
        tmp_path / "part-1.tar", {"b.jpg": picture(), "b.json": b'{"text": ["one", "two"], "class_id": 3}'}
    )
    assert told_layout(tmp_path) == "shards"
    images = ShardedImages(tmp_path, "train", size=16)
    assert images.keys == ["a/0001", "a/0002", "a/0003", "b"]
    assert [images.texts(index) for index in range(4)] == [
        ["a blue bird"],
        ["a red bird", "red all over"],
        ["a café"],
        ["one", "two"],
    ]
    items = [images.item(index, np.random.default_rng(0), train=False) for index in range(4)]
    assert [item.class_id for item in items] == [0, 1, 7, 3]
    assert images.vocabulary.words[:5] == ("<end>", "a", "blue", "bird", "red")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"x.png": picture()}, r"'x' has no json and no txt"),
        ({"x.json": b"{}"}, r"'x' has no image"),
        ({"x.png": picture(), "x.json": b"{}"}, r"'x' has no caption in its json or txt"),
        ({"x.png": picture(), "x.json": b"{"}, r"x\.json cannot be read"),
        ({"x.png": picture(), "x.json": b'{"captions": [1]}'}, r"x\.json cannot be read: captions must be text"),
        ({"x.png": picture(), "x.txt": b"caf\xe9"}, r"x\.txt cannot be read"),
        ({"x.png": picture(), "x.txt": b"a", "x.cls": b"seven"}, r"x\.cls cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_shard_is_told_by_member(
    tmp_path: Path, members: dict[str, bytes], told: str
) -> None:
    packed(tmp_path / "part-0.tar", members)
    with pytest.raises(DataError, match=rf"part-0\.tar: .*{told}"):
        ShardedImages(tmp_path, "train")


def test_an_image_that_is_truncated_inside_its_shard(tmp_path: Path) -> None:
    packed(tmp_path / "part-0.tar", {"x.png": picture()[:60], "x.txt": b"a bird"})
    with pytest.raises(DataError, match=r"the image of 'x' in .*part-0\.tar is truncated or damaged"):
        ShardedImages(tmp_path, "train").item(0, np.random.default_rng(0), train=False)


@pytest.mark.parametrize("index", ["[]", "{", '{"shards": [{"url": "a.tar"}]}', '{"shards": []}'])
def test_a_damaged_index_is_told(root: Path, index: str) -> None:
    (root / "train" / "shards.json").write_text(index)
    with pytest.raises(DataError, match=r"shards\.json (must hold|lists no shard)"):
        ShardedImages(root, "train")
