"""The sequence of docs/released.md, run as printed: a CUB-shaped folder and full-size checkpoints, to scores.

Data and checkpoints are made from scratch in the released formats: Python 2 pickles, words in no order, boxes, images
that are not square; state dicts with every key and shape of the released files, one of them from ``DataParallel``.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.data.birds.dataset import SpeciesScenes
from reference_models.dmgan.data.birds.render import bounding_box, render
from reference_models.dmgan.data.vocabulary import Vocabulary, tokenize
from reference_models.dmgan.evaluation.inception_tf import ScoreInception
from reference_models.dmgan.released.vectors import deterministic_state
from tests.reference_models.dmgan.data.python2 import dumps

ROOT = Path(__file__).parents[3]
SHAPES = json.loads((ROOT / "tests" / "vectors" / "official_state_dicts.json").read_text())
WORDS = 5450  # of the released vocabulary, <end> among them
IMAGES = {"train": 4, "test": 5}
COUNT = 5  # images drawn, where the page says 30000

COLOURS = ("red", "café", "blue", "green")


def captions_of(index: int) -> list[str]:
    return [f"This is bird no. {index}, a {COLOURS[index % 4]}-crowned one: {n} feathers" for n in range(10)]


def vocabulary_in_hash_order() -> list[str]:
    """5450 words whose ids follow no order that could be guessed, as Python 2's are."""
    said = {token for index in range(10) for text in captions_of(index) for token in tokenize(text)}
    words = [*sorted(said), *(f"word{number}" for number in range(WORDS - 1 - len(said)))]
    return ["<end>", *np.random.default_rng(0).permutation(words).tolist()]


def make_data(root: Path) -> None:
    """A folder in CUB's shape, for ``data.root``."""
    words = vocabulary_in_hash_order()
    vocabulary = Vocabulary(words)
    names, boxes, captions, first = [], [], {}, 0
    for split, count in IMAGES.items():
        scenes, keys, classes = SpeciesScenes(split, 0), [], []
        for index in range(count):
            scene = scenes(index)
            key = f"{scenes.species_of(index) + 1:03d}.Species/Bird_{first + index:04d}_{index}"
            picture = Image.fromarray(render(scene, 160)).crop((0, 0, 160, 140))  # not square
            path = root / "CUB_200_2011" / "images" / f"{key}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=90)
            x, y, width, height = (int(value) for value in bounding_box(scene, 160))
            boxes.append((x, y, width, min(height, 140 - y)))
            text = root / "text" / f"{key}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("\n".join(captions_of(first + index)) + "\n", encoding="utf-8")
            keys.append(key)
            classes.append(scenes.species_of(index) + 1)
        said = [text for index in range(count) for text in captions_of(first + index)]
        captions[split] = [vocabulary.encode(text) for text in said]
        names += keys
        first += count
        (root / split).mkdir()
        (root / split / "filenames.pickle").write_bytes(dumps(keys, 0))
        (root / split / "class_info.pickle").write_bytes(dumps(classes, 0))
    tables = {
        "images.txt": [f"{place} {key}.jpg" for place, key in enumerate(names, 1)],
        "bounding_boxes.txt": [
            f"{place} " + " ".join(f"{value}.0" for value in box) for place, box in enumerate(boxes, 1)
        ],
    }
    for name, lines in tables.items():
        (root / "CUB_200_2011" / name).write_text("\n".join(lines) + "\n")
    ids = dict(enumerate(words))
    stored = [captions["train"], captions["test"], ids, {word: place for place, word in ids.items()}]
    (root / "captions.pickle").write_bytes(dumps(stored, 2))


def make_checkpoints(root: Path) -> None:
    """Every released file that the sequence reads, at its full size, and an Inception weight file."""
    files = {
        "models/bird_DMGAN.pth": "generator_bird",
        "models/netD0.pth": "discriminator_64",
        "models/netD1.pth": "discriminator_128",
        "models/netD2.pth": "discriminator_256",
        "DAMSMencoders/bird/text_encoder200.pth": "text_encoder_bird",
        "DAMSMencoders/bird/image_encoder200.pth": "image_encoder",
    }
    for name, layout in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        state = deterministic_state(SHAPES[layout])
        if name == "models/bird_DMGAN.pth":
            state = {f"module.{key}": value for key, value in state.items()}
        torch.save(state, root / name)
    inception = deterministic_state(
        {key: tuple(value.shape) for key, value in ScoreInception("tf").state_dict().items()}
    )
    torch.save(inception, root / "inception_tf.pth")


def documented_commands() -> list[list[str]]:
    """The commands of the page's section, each as its arguments."""
    page = (ROOT / "docs" / "released.md").read_text()
    section = page.split("## From a folder and checkpoints to scores")[1].split("\n## ")[0]
    (block,) = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    lines = block.replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines]
    return [command[3:] for command in commands if command[:3] == ["python", "-m", "reference_models.dmgan"]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Removed at once: full-size checkpoints, twice, are a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_the_documented_sequence_from_data_and_checkpoints_to_scores(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_data(folder / "data" / "birds")
    make_checkpoints(folder)
    monkeypatch.chdir(folder)
    commands = documented_commands()
    assert [command[0] for command in commands] == [
        "data",
        "import",
        "data",
        "sample",
        "data",
        "evaluate",
        "evaluate",
    ]
    told = []
    for command in commands:
        argv = [str(COUNT) if argument == "30000" else argument for argument in command]
        assert main(argv) == 0, (argv, capsys.readouterr())
        told.append(capsys.readouterr().out)

    assert "layout: cub" in told[0]
    assert "train: 4 of 4 images can be read, 4 classes" in told[0]
    assert "a vocabulary of 5449" in told[0]
    assert "nothing is wrong" in told[0]

    imported = folder / "runs" / "cub_released"
    assert Vocabulary.from_json(imported / "vocabulary.json").words == tuple(vocabulary_in_hash_order())
    assert "21.45 M parameters" in told[1], "the released generator's size"

    lines = (folder / "runs" / "captions.txt").read_text().splitlines()
    said = {" ".join(tokenize(text)) for index in range(4, 9) for text in captions_of(index)}
    assert len(lines) == COUNT
    assert set(lines) <= said, "random captions of the test images, by the release's token rule"

    pictures = sorted((folder / "runs" / "pictures").glob("*.png"))
    assert len(pictures) == COUNT
    with Image.open(pictures[0]) as picture:
        assert picture.size == (256, 256)

    result = json.loads((folder / "runs" / "scores.json").read_text())
    assert result["protocol"]["name"] == "tf"
    assert result["protocol"]["count"] == COUNT
    assert result["protocol"]["reference_count"] == IMAGES["test"]
    assert np.isfinite([score["value"] for score in result["scores"].values()]).all()

    result = json.loads((folder / "runs" / "retrieval.json").read_text())
    assert result["protocol"]["max_words"] == 25
    assert all(0 <= score["value"] <= 1 for score in result["scores"].values())
