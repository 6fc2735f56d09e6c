"""``data check``: what is found, every fault by file and line, and the layout told from the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.data.check import check
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.open import open_folder, told_layout
from reference_models.dmgan.data.released_layout import ReleasedLayout
from reference_models.dmgan.errors import DataError
from tests.reference_models.dmgan.data.python2 import dumps


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "cub"
    return export_birds("cub", out, images={"train": 4, "test": 3}, size=32)


@pytest.fixture
def cub(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "cub"))


def without_boxes(cub: Path) -> Path:
    """The same data as COCO and flowers keep it: ``images/`` and no boxes."""
    (cub / "CUB_200_2011" / "images").rename(cub / "images")
    shutil.rmtree(cub / "CUB_200_2011")
    return cub


def first_text(cub: Path) -> Path:
    return cub / "text" / f"{ReleasedLayout(cub, 'train').keys[0]}.txt"


def test_a_sound_folder_is_described(cub: Path) -> None:
    found = check(cub)
    assert found.layout == "cub"
    assert not found.faults
    assert found.lines[0] == "train: 4 of 4 images can be read, 4 classes"
    assert found.lines[1].startswith("train: 10 captions an image; ")
    assert "words a caption" in found.lines[1]
    assert len(found.lines) == 4


def test_coco_and_flowers_are_told_apart_by_their_classes(cub: Path) -> None:
    root = without_boxes(cub)
    assert told_layout(root) == "flowers"
    assert len({open_folder(root, "train").class_ids[index] for index in range(4)}) == 4  # type: ignore[attr-defined]
    for split in ("train", "test"):
        (root / split / "class_info.pickle").unlink()
    assert told_layout(root) == "coco"
    assert open_folder(root, "test").class_ids == [0, 1, 2]  # type: ignore[attr-defined]
    assert not check(root).faults


def test_a_caption_that_the_pickle_does_not_hold_is_told_by_line(cub: Path) -> None:
    path = first_text(cub)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "", "this bird is blue", *lines[4:]]) + "\n")
    (fault,) = check(cub).faults
    assert f"{path}, line 5: 'this bird is blue' there" in fault
    assert "in captions.pickle" in fault


def test_text_that_is_not_utf8_is_told_by_line(cub: Path) -> None:
    path = first_text(cub)
    path.write_bytes(b"a red bird\na caf\xe9 bird\n")
    assert any(f"{path}, line 2: expected UTF-8 text" in fault for fault in check(cub).faults)
    (cub / "captions.pickle").unlink()
    with pytest.raises(DataError, match=r"line 2: expected UTF-8 text"):
        ReleasedLayout(cub, "train")


def test_an_image_listed_twice_or_in_both_splits_is_told(cub: Path) -> None:
    keys = ReleasedLayout(cub, "train").keys
    (cub / "captions.pickle").unlink()
    (cub / "train" / "filenames.pickle").write_bytes(dumps([*keys[:3], keys[0]]))
    (cub / "test" / "filenames.pickle").write_bytes(dumps([keys[1], keys[1], keys[2]]))
    faults = "\n".join(check(cub).faults)
    assert f"train: {keys[0]!r} is listed 2 times" in faults
    assert f"train and test: both hold the image {keys[2]!r}" in faults


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("train/filenames.pickle", "text", r"filenames\.pickle must hold a list of names, got str of 4"),
        ("train/filenames.pickle", [1, 2], r"must hold a list of names, got list of 2"),
        ("train/filenames.pickle", ["../../a"], r"a name must lie inside the folder of images, got '\.\./\.\./a'"),
        ("train/filenames.pickle", ["/etc/a"], r"a name must lie inside the folder of images"),
        ("train/class_info.pickle", 3, r"class_info\.pickle must hold a list of class ids, got int"),
        ("train/class_info.pickle", ["a"] * 4, r"class_info\.pickle must hold a list of class ids"),
        ("captions.pickle", [[], []], r"must hold \[train captions, test captions.*got list of 2"),
        ("captions.pickle", [[], [], {1: "a"}, {}], r"the ids of its 1 words must be 0 to 0, and 0 must be '<end>'"),
        ("captions.pickle", [[], [], {0: "<end>", 1: 2}, {}], r"id → word must give text, got 2"),
        ("captions.pickle", [5, [], {0: "<end>"}, {}], r"captions must be lists of word ids"),
        ("captions.pickle", [[[7]], [], {0: "<end>"}, {}], r"a caption has the id 7, ids of words are 1 to 0"),
        ("captions.pickle", [[[1]] * 3 + [[]], [], {0: "<end>", 1: "a"}, {}], r"has no caption with a word in it"),
    ],
)  # fmt: skip
def test_pickles_that_hold_something_else_are_named(cub: Path, name: str, content: object, told: str) -> None:
    (cub / name).write_bytes(dumps(content))
    with pytest.raises(DataError, match=told):
        ReleasedLayout(cub, "train")


def test_a_box_outside_its_image_is_named(cub: Path) -> None:
    path = cub / "CUB_200_2011" / "bounding_boxes.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["1 500.0 10.0 20.0 20.0", *lines[1:]]) + "\n")
    (fault,) = check(cub).faults
    assert "bird_train_000000.jpg: the box x 500, y 10, width 20, height 20 holds nothing" in fault
    path.write_text("\n".join(["9 1 2 3 4", *lines[1:]]) + "\n")
    assert "image 9 is not in images.txt" in check(cub).faults[0]
    path.write_text("\n".join(["1 1 2 3 x", *lines[1:]]) + "\n")
    assert "bounding_boxes.txt: image 1: could not convert" in check(cub).faults[0]
    path.write_text("\n".join(lines[1:]) + "\n")
    assert "bounding_boxes.txt has no box of" in check(cub).faults[0]


def test_splits_of_other_words_are_told(tmp_path: Path) -> None:
    root = export_birds("shards", tmp_path / "shards", images={"train": 2, "test": 2}, size=16)
    words = json.loads((root / "test" / "vocabulary.json").read_text())["words"]
    (root / "test" / "vocabulary.json").write_text(json.dumps({"words": [words[0], *words[:0:-1]]}))
    assert check(root).faults == ["train and test: their vocabularies differ, so the ids of words do too"]


def test_a_folder_of_two_splits_has_one_vocabulary(tmp_path: Path) -> None:
    for split, word in (("train", "red"), ("test", "blue")):
        (tmp_path / split).mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / split / "a.png")
        line = {"file_name": "a.png", "text": f"a {word} bird", "class_id": 1}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(line))
    vocabularies = [open_folder(tmp_path, split).vocabulary for split in ("train", "test")]
    assert vocabularies[0] == vocabularies[1]
    assert vocabularies[0].words == ("<end>", "a", "red", "bird", "blue")
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "b", "class_id": "x"}')
    with pytest.raises(
        DataError, match=r"metadata\.jsonl, line 1: 'class_id' must be a whole number, got 'x'"
    ):
        open_folder(tmp_path, "test")


def test_a_missing_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"data: there is no data folder {tmp_path / 'none'}\n"
