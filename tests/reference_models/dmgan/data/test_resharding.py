"""What ``data shard`` writes can be read, or nothing is written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.open import open_folder
from reference_models.dmgan.data.resharding import shard_folder
from reference_models.dmgan.errors import ConfigError, DataError


@pytest.fixture
def cub(tmp_path: Path) -> Path:
    root = export_birds("cub", tmp_path / "cub", images={"train": 3, "test": 1}, size=64)
    boxes = "".join(f"{number} 20.0 24.0 16.0 12.0\n" for number in range(1, 5))
    (root / "CUB_200_2011" / "bounding_boxes.txt").write_text(boxes)
    return root


def test_cropped_shards_give_what_the_folder_gives(cub: Path, tmp_path: Path) -> None:
    assert main(["data", "shard", str(cub), "--crop", "--out", str(tmp_path / "shards")]) == 0
    theirs, ours = (open_folder(root, "train", size=32) for root in (cub, tmp_path / "shards"))
    assert len(theirs) == len(ours) == 3
    for index in range(3):
        one, two = (images.item(index, np.random.default_rng(5), train=True) for images in (theirs, ours))
        assert np.array_equal(one.image, two.image)
        assert (one.text, one.caption, one.class_id) == (two.text, two.caption, two.class_id)
    whole = shard_folder(cub, "train", tmp_path / "whole")
    assert len(whole) == 1
    image = open_folder(tmp_path / "whole", "train", size=32).item(0, np.random.default_rng(5), train=True)
    assert not np.array_equal(image.image, theirs.item(0, np.random.default_rng(5), train=True).image)


def test_only_boxes_can_be_cropped_to(tmp_path: Path) -> None:
    root = export_birds("folder", tmp_path / "folder", images={"train": 1}, size=16)
    with pytest.raises(ConfigError, match="`--crop` cuts images to CUB's boxes, and .*folder has none"):
        shard_folder(root, "train", tmp_path / "shards", crop=True)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ""])
def test_an_image_that_a_shard_cannot_give_back_is_refused(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    lines = []
    for name in ("a.png", f"b{suffix}"):
        Image.new("RGB", (20, 20), "red").save(root / name, format="PNG")
        lines.append(json.dumps({"file_name": name, "text": "a red picture"}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=rf"mine/b{suffix} cannot be in a shard: images there are \.jpg, "):
        shard_folder(root, "train", tmp_path / "shards", per_shard=1)
    (root / f"b{suffix}").unlink()
    (root / "metadata.jsonl").write_text("\n".join(lines).replace(f'"b{suffix}"', '"c.png"'))
    with pytest.raises(FileNotFoundError, match=r"there is no image .*c\.png"):
        shard_folder(root, "train", tmp_path / "shards", per_shard=1)
    assert not (tmp_path / "shards").exists()


def test_two_images_that_a_shard_would_call_the_same(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    (root / "train").mkdir(parents=True)
    keys = ["a/b", "a.b"]
    (root / "train" / "filenames.pickle").write_bytes(pickle.dumps(keys, protocol=2))
    for key in keys:
        for path in (root / "images" / f"{key}.jpg", root / "text" / f"{key}.txt"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a red picture")
    with pytest.raises(DataError, match=r"a/b\.jpg and .*a\.b\.jpg would both be called 'a_b' in a shard"):
        shard_folder(root, "train", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
