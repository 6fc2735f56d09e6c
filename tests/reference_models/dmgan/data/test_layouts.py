"""Data sets on disk: what was exported comes back, and what is wrong is told by file."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.config import DataConfig
from reference_models.dmgan.data.batch import CaptionedImages, collate
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.data.check import check
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.folder import read_metadata
from reference_models.dmgan.data.images import crop_to_box, prepare
from reference_models.dmgan.data.open import open_dataset, open_folder
from reference_models.dmgan.data.released_layout import ReleasedLayout
from reference_models.dmgan.data.sentences import shorten
from reference_models.dmgan.errors import ConfigError, DataError

IMAGES = {"train": 12, "test": 5}
SIZE = 64


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    return {
        layout: export_birds(layout, root / layout, images=IMAGES, size=SIZE, per_shard=5)
        for layout in ("cub", "folder", "shards")
    }


def copy(exported: dict[str, Path], layout: str, to: Path) -> Path:
    return Path(shutil.copytree(exported[layout], to / layout))


def opened(exported: dict[str, Path], layout: str, split: str) -> CaptionedImages:
    config = DataConfig(layout=layout, root=str(exported[layout]), max_words=40)  # type: ignore[arg-type]
    return open_dataset(config, split, size=SIZE)


@pytest.mark.parametrize("layout", ["cub", "folder", "shards"])
@pytest.mark.parametrize("split", IMAGES)
def test_exported_birds_come_back(exported: dict[str, Path], layout: str, split: str) -> None:
    images, birds = (
        opened(exported, layout, split),
        Birds(split, images=IMAGES[split], size=SIZE, cached=False),
    )
    assert len(images) == IMAGES[split]
    assert images.vocabulary == birds.vocabulary
    for index in range(len(images)):
        item = images.item(index, np.random.default_rng(0), train=False)
        said = birds.caption(index, 0)
        assert item.caption == tuple(birds.vocabulary.encode(said.text))
        assert item.class_id == birds.scenes.species_of(index)
        if layout != "cub":  # CUB is cropped to the box, and JPEG
            assert np.array_equal(item.image, birds.image(index))
    items = [images.item(index, np.random.default_rng(index), train=True) for index in range(4)]
    assert collate(items, (32, SIZE)).images[-1].shape == (4, 3, SIZE, SIZE)


def test_the_words_of_the_pickle_and_of_the_text_files_are_the_same(
    exported: dict[str, Path], tmp_path: Path
) -> None:
    root = copy(exported, "cub", tmp_path)
    by_pickle = ReleasedLayout(root, "train")
    (root / "captions.pickle").unlink()
    by_text = ReleasedLayout(root, "train")
    assert by_text.vocabulary != by_pickle.vocabulary, "ids in the order of first sight"
    for index in range(len(by_text)):
        for one, two in zip(by_text.captions[index], by_pickle.captions[index]):
            assert by_text.vocabulary.decode(one) == by_pickle.vocabulary.decode(two)


def test_the_crop_is_the_released_square() -> None:
    pixels = np.zeros((100, 200, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(200)[None], np.arange(100)[:, None]
    cropped = np.asarray(crop_to_box(Image.fromarray(pixels), (80, 30, 40, 20)))
    assert cropped.shape == (60, 60, 3)  # 1.5 times 40
    assert tuple(cropped[0, 0, :2]) == (70, 10)  # around (100, 40)
    clipped = np.asarray(crop_to_box(Image.fromarray(pixels), (0, 0, 100, 80)))
    assert clipped.shape == (100, 125, 3)


def test_training_crops_and_flips_at_random_and_evaluation_does_not() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    alike = [prepare(image, 32, None) for _ in range(2)]
    assert np.array_equal(*alike)
    drawn = [prepare(image, 32, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert all(one.shape == (32, 32, 3) for one in drawn)


def test_long_captions_are_thinned_in_order() -> None:
    ids = list(range(1, 31))
    kept = shorten(ids, 18, np.random.default_rng(0))
    assert len(kept) == 18
    assert list(kept) == sorted(kept)
    assert shorten(ids[:18], 18, np.random.default_rng(0)) == tuple(ids[:18])


def damage_cub(root: Path, what: str) -> None:
    image = next((root / "CUB_200_2011" / "images").rglob("*bird_train_000000.jpg"))
    if what == "truncated image":
        image.write_bytes(image.read_bytes()[:500])
    elif what == "missing image":
        image.unlink()
    elif what == "evil pickle":
        (root / "captions.pickle").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    elif what == "names":
        (root / "train" / "filenames.pickle").unlink()
    elif what == "count":
        path = root / "train" / "filenames.pickle"
        path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes())[:-1], 2))
    elif what == "box":
        path = root / "CUB_200_2011" / "bounding_boxes.txt"
        path.write_text(path.read_text().replace("\n", " 7\n", 1))
    elif what == "classes":
        (root / "train" / "class_info.pickle").write_bytes(pickle.dumps([1, 2], 2))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("truncated image", r"bird_train_000000\.jpg is truncated or damaged"),
        ("missing image", r"there is no image .*bird_train_000000\.jpg"),
        ("evil pickle", r"captions\.pickle is refused: at byte 0 it names os\.system"),
        ("names", r"there is no file .*train/filenames\.pickle"),
        ("count", r"captions\.pickle has 120 train captions for 11 images"),
        ("box", r"bounding_boxes\.txt, line 1: expected a number and 4 more"),
        ("classes", r"class_info\.pickle has 2 classes for 12 images"),
    ],
)
def test_what_is_wrong_with_a_released_folder_is_told(
    exported: dict[str, Path], tmp_path: Path, what: str, told: str
) -> None:
    root = copy(exported, "cub", tmp_path)
    damage_cub(root, what)
    with pytest.raises((DataError, FileNotFoundError), match=told):
        ReleasedLayout(root, "train").item(0, np.random.default_rng(0), train=False)
    assert any(fault for fault in check(root).faults)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", r"metadata\.jsonl, line 3: expected a JSON object"),
        ('{"text": "a bird"}', r"line 3: expected an object with 'file_name'"),
        ('{"file_name": "x.png", "text": []}', r"line 3: 'text' must be a caption or a list"),
        ('{"file_name": "../x.png", "text": "a bird"}', r"line 3: 'file_name' must lie inside the folder"),
        ('{"file_name": "x.png", "text": "quixotic"}', r"'x\.png' has no caption with a known word"),
        ('{"file_name": "x.png", "text": "a bird", "class_id": 1.5}', r"line 3: 'class_id' must be a whole"),
        ('{"file_name": "x.png", "text": "a bird", "class_id": 9223372036854775808}', r"line 3: 'class_id'"),
        ("[" * 100_000, r"line 3: expected a JSON object"),
    ],
)
def test_what_is_wrong_with_metadata_is_told_by_line(
    exported: dict[str, Path], tmp_path: Path, line: str, told: str
) -> None:
    root = copy(exported, "folder", tmp_path)
    path = root / "train" / "metadata.jsonl"
    path.write_text("\n".join([*path.read_text().splitlines()[:2], line]))
    with pytest.raises(DataError, match=told):
        open_dataset(DataConfig(layout="folder", root=str(root)), "train", size=SIZE)


def test_text_that_is_not_utf8_is_told_by_line(exported: dict[str, Path], tmp_path: Path) -> None:
    root = copy(exported, "folder", tmp_path)
    path = root / "train" / "metadata.jsonl"
    path.write_bytes(path.read_bytes() + '{"file_name": "x.png", "text": "café"}\n'.encode("latin-1"))
    place = path.read_bytes().count(b"\n")
    assert [fault for fault in check(root).faults if f"line {place}: expected UTF-8 text" in fault]
    root = copy(exported, "cub", tmp_path)
    path = root / "CUB_200_2011" / "images.txt"
    path.write_bytes(b"1 caf\xe9.jpg\n" + path.read_bytes())
    assert [fault for fault in check(root).faults if "images.txt, line 1: expected UTF-8 text" in fault]


def test_a_line_of_metadata_ends_at_a_newline_alone(exported: dict[str, Path], tmp_path: Path) -> None:
    """JSON may hold Unicode's other line breaks as they are, and a file may begin with a byte order mark."""
    root = copy(exported, "folder", tmp_path)
    path = root / "train" / "metadata.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["text"] = ["a red\u2028bird", "blue\x85wings\u2029here"]
    text = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    images = open_dataset(DataConfig(layout="folder", root=str(root)), "train", size=SIZE)
    assert len(images) == len(lines)
    assert images.item(0, np.random.default_rng(0), train=False).text == "a red\u2028bird"


def test_a_folder_and_a_layout_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`data\.root` must name the folder"):
        open_dataset(DataConfig(layout="cub"), "train", size=SIZE)
    with pytest.raises(FileNotFoundError, match="there is no data folder"):
        open_dataset(DataConfig(layout="cub", root=str(tmp_path / "none")), "train", size=SIZE)
    with pytest.raises(DataError, match="`split` must be one of train, test"):
        ReleasedLayout(tmp_path, "validation")
    with pytest.raises(DataError, match="no layout that is known"):
        check(tmp_path)


@pytest.mark.parametrize("layout", ["folder", "shards"])
def test_a_split_that_a_folder_lacks_is_told_with_those_it_has(
    layout: str, exported: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"`split` must be one of test, train, the folders of .*, got 'nope'"):
        open_folder(exported[layout], "nope")
    (tmp_path / "alone").symlink_to(exported[layout] / "test")
    assert len(open_folder(tmp_path / "alone", "nope")) == len(open_folder(exported[layout], "test"))


@pytest.mark.parametrize("layout", ["cub", "folder", "shards"])
def test_the_commands_from_export_to_check(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "birds"
    counts = ["--train", "3", "--test", "2", "--size", "32"]
    assert main(["data", "export", "--layout", layout, "--out", str(out), *counts]) == 0
    assert main(["data", "check", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"layout: {layout}" in told
    assert "train: 3 of 3 images can be read" in told
    assert "nothing is wrong" in told
    assert main(["data", "export", "--layout", layout, "--out", str(out), *counts]) == 2
    if layout != "shards":
        assert main(["data", "shard", str(out), "--out", str(tmp_path / "shards"), "--per-shard", "2"]) == 0
        assert main(["data", "check", str(tmp_path / "shards")]) == 0


@pytest.mark.parametrize("layout", ["cub", "folder", "shards"])
def test_a_split_that_is_not_asked_for_is_not_written(
    tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "export", "--layout", layout, "--out", str(tmp_path / "out"), "--size", "16"]
    assert main([*command, "--train", "0", "--test", "0"]) == 2
    assert "`--train` and `--test` must not both be 0" in capsys.readouterr().err
    assert main([*command, "--train", "0", "--test", "2"]) == 0
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "train").exists()


def test_check_lists_every_fault_and_fails(
    exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = copy(exported, "folder", tmp_path)
    for name in sorted((root / "train" / "images").iterdir())[:11]:
        name.write_bytes(b"not a picture")
    (root / "test" / "metadata.jsonl").write_text("")
    assert main(["data", "check", str(root)]) == 1
    told = capsys.readouterr().out
    assert "train: 1 of 12 images can be read" in told
    assert told.count("is not an image that can be read") == 10
    assert "train: and 1 more" in told
    assert "metadata.jsonl is empty" in told


def test_a_contact_sheet_is_drawn(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["data", "render", "--out", str(out), "--columns", "3", "--rows", "2", "--size", "64"]) == 0
    with Image.open(out) as sheet:
        assert sheet.width > 3 * 64
        assert len(sheet.getcolors(1 << 20) or []) > 1000


def test_metadata_of_one_caption_and_without_classes(tmp_path: Path) -> None:
    Image.new("RGB", (40, 50), (200, 30, 30)).save(tmp_path / "red.png")
    Image.new("RGB", (40, 50), (30, 30, 200)).save(tmp_path / "blue.png")
    lines = [{"file_name": f"{name}.png", "text": f"a {name} picture"} for name in ("red", "blue")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    images = open_dataset(DataConfig(layout="folder", root=str(tmp_path)), "train", size=32)
    items = [images.item(index, np.random.default_rng(0), train=False) for index in range(2)]
    assert [item.class_id for item in items] == [0, 1]
    assert images.vocabulary.words == ("<end>", "a", "red", "picture", "blue")


def test_images_without_a_class_have_one_that_no_image_was_given(tmp_path: Path) -> None:
    lines = [{"file_name": f"{i}.png", "text": "a bird"} for i in range(4)]
    lines[0]["class_id"] = lines[3]["class_id"] = 2  # type: ignore[assignment]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [entry.class_id for entry in read_metadata(tmp_path)] == [2, 3, 4, 2]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines[1:3])))
    assert [entry.class_id for entry in read_metadata(tmp_path)] == [0, 1]
