"""R-precision on data from disk: who is compared with whom, and which images count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.dmgan.commands import evaluate_retrieval
from reference_models.dmgan.data.export import export_birds
from reference_models.dmgan.data.open import open_folder
from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.caption_retrieval import (
    DISTRACTORS,
    CaptionBank,
    caption_bank,
    hits_of,
    over_splits,
    score_retrieval,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "cub"
    return export_birds("cub", out, images={"train": 2, "test": 12}, size=32)


@pytest.fixture(scope="module")
def bank(root: Path) -> CaptionBank:
    return caption_bank(open_folder(root, "test"), max_words=9)  # type: ignore[arg-type]


def test_every_image_is_drawn_once_before_any_is_drawn_again(bank: CaptionBank) -> None:
    assert len(bank.texts) == 120
    assert max(len(text.split()) for text in bank.texts) == 9
    chosen = bank.chosen(30, seed=0)
    assert sorted(bank.owners[chosen[:12]]) == list(range(12))
    assert sorted(bank.owners[chosen[12:24]]) == list(range(12))
    assert not np.array_equal(chosen, bank.chosen(30, seed=1))


@pytest.mark.parametrize("rule", ["fixed_distractors", "drawn_distractors"])
def test_distractors_are_of_other_classes(bank: CaptionBank, rule: str) -> None:
    chosen = bank.chosen(20, seed=0)
    others = getattr(bank, rule)(chosen, 0)
    assert others.shape == (20, DISTRACTORS)
    assert (bank.classes[others] != bank.classes[chosen][:, None]).all()


def test_the_fixed_list_of_an_image_depends_on_its_number_alone(bank: CaptionBank) -> None:
    chosen = bank.chosen(20, seed=0)
    whole = bank.fixed_distractors(chosen, 5)
    assert np.array_equal(whole[:7], bank.fixed_distractors(chosen[:7], 5))
    assert all(len(set(row)) == DISTRACTORS for row in whole), "none twice"
    assert not np.array_equal(whole, bank.fixed_distractors(chosen, 6))


def test_an_image_hits_when_its_own_caption_is_nearest() -> None:
    sentences = torch.eye(4)
    chosen, distractors = np.array([0, 1, 2]), np.array([[1, 2], [2, 3], [0, 3]])
    codes = torch.tensor([[9.0, 1, 0, 0], [0, 1, 2, 0], [0, 9, 1, 0]])
    assert hits_of(codes, sentences, chosen, distractors).tolist() == [1, 0, 1]


def test_the_released_mean_leaves_the_last_image_of_each_split_out() -> None:
    hits = torch.ones(30)
    hits[2::3] = 0  # the last of each of ten splits of three
    assert over_splits(hits, cut=True) == (1.0, 0.0)
    assert over_splits(hits, cut=False)[0] == pytest.approx(2 / 3)
    assert over_splits(torch.tensor([1.0, 0.0]), cut=True) == (0.5, 0.5)


def test_a_model_is_scored_the_same_whatever_the_batch(model_folder: Path, root: Path) -> None:
    first, second = (score_retrieval(model_folder, root, count=14, batch=batch) for batch in (4, 14))
    assert first["scores"] == second["scores"]
    for score in first["scores"].values():
        assert 0 <= score["value"] <= 1
        assert 0 <= score["real"] <= 1
        assert score["chance"] == 0.01
    protocol = first["protocol"]
    assert protocol["name"] == "retrieval"
    assert protocol["count"] == 14
    assert protocol["reference_count"] == 12
    assert protocol["max_words"] == 25
    assert len(protocol["extractors"]["image_encoder"]) == 64
    assert protocol["reference_sha256"] == second["protocol"]["reference_sha256"] != ""


def test_the_command_takes_a_run_and_writes_the_result(
    model_folder: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    run = tmp_path / "run"
    shutil.copytree(model_folder, run / "export")
    argv = ["--model", str(run), "--data", str(root), "--count", "12", "--out", str(out)]
    assert evaluate_retrieval.main(argv) == 0
    printed = capsys.readouterr().out
    assert "R-precision by the release's rule" in printed
    assert "R-precision by a fixed list" in printed
    assert json.loads(out.read_text())["scores"]["r_precision"]["chance"] == 0.01


def test_other_words_and_a_single_class_are_refused(model_folder: Path, root: Path, tmp_path: Path) -> None:
    folder = export_birds("folder", tmp_path / "folder", images={"train": 2, "test": 2}, size=16)
    words = Vocabulary.from_json(folder / "vocabulary.json").words
    Vocabulary([words[0], *words[:0:-1]]).to_json(folder / "vocabulary.json")
    with pytest.raises(DataError, match="knows other words than"):
        score_retrieval(model_folder, folder, count=4)
    told: list[str] = []
    with pytest.raises(DataError, match="knows other words than"):
        score_retrieval(model_folder, folder / "train", count=4, warn=told.append)
    assert told == [f"{folder / 'train'} has no splits: all of its images are taken"]
    alone = export_birds("folder", tmp_path / "alone", images={"test": 1}, size=16)
    with pytest.raises(DataError, match="at least two classes"):
        score_retrieval(model_folder, alone, count=4)
