"""Swaps: one word differs, the noise does not, and shares are what a hand would count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.__main__ import main
from reference_models.dmgan.ablation.swap_captions import WordSwap, one_word, synonym_of, word_swaps
from reference_models.dmgan.ablation.swap_shares import Answers, control_block, goals, share, swap_block
from reference_models.dmgan.ablation.swaps import swaps_of
from reference_models.dmgan.data.birds.attributes import ATTRIBUTES, INDEX, A
from reference_models.dmgan.data.birds.captions import parse
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.discriminator import build_discriminators
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.initialisation import initialise
from reference_models.dmgan.training.weights import Encoders, save_model
from tests.reference_models.dmgan.ablation.conftest import small_config


def test_a_swap_changes_one_colour_word_and_what_it_says() -> None:
    pairs = word_swaps(120)
    for pair in pairs:
        before, after = parse(pair.caption), parse(pair.swapped)
        name = ATTRIBUTES[pair.attribute].name
        assert ATTRIBUTES[pair.attribute].colour
        assert one_word(pair.caption, pair.swapped) == (pair.word, pair.replacement)
        assert after[name] == ATTRIBUTES[pair.attribute].values[pair.value] != before[name]
        assert {k: v for k, v in after.items() if k != name} == {k: v for k, v in before.items() if k != name}
        assert sorted(before) == sorted(ATTRIBUTES[index].name for index in pair.mentioned)
    assert len({pair.species for pair in pairs}) == 50
    assert len({pair.attribute for pair in pairs}) == 8  # every colour that birds have


def test_the_control_says_the_same_with_one_other_word() -> None:
    for pair in word_swaps(120, seed=1):
        assert one_word(pair.caption, pair.control) == pair.synonym
        assert parse(pair.control) == parse(pair.caption)


def test_captions_are_those_of_the_test_pictures() -> None:
    birds = Birds("test", images=20, cached=False)
    for pair in word_swaps(15):
        assert pair.caption in [said.text for said in birds.captions(pair.image)]
        assert np.array_equal(pair.attributes, birds.attributes(pair.image))


def test_swaps_depend_on_the_seed_and_the_place_alone() -> None:
    assert [p.swapped for p in word_swaps(20)] == [p.swapped for p in word_swaps(30)][:20]
    assert [p.swapped for p in word_swaps(20)] != [p.swapped for p in word_swaps(20, seed=1)]


def test_a_synonym_never_changes_the_article() -> None:
    rng = np.random.default_rng(0)
    assert synonym_of("this bird has a crest", "crest", rng) is None
    assert synonym_of("a bird with a red belly", "belly", rng) == (
        "a bird with a red underside",
        ("belly", "underside"),
    )
    other = synonym_of("a bird with a red tail and a grey back", "tail", rng)
    assert other == ("a bird with a red tail and a gray back", ("grey", "gray"))


def pair_of(kind: int, attribute: str, mentioned: tuple[str, ...], value: int) -> WordSwap:
    said = tuple(INDEX[name] for name in mentioned)
    return WordSwap(
        0, kind, "", said, np.zeros(A, dtype=np.int64), INDEX[attribute], value, "", "", "", "", ("", "")
    )


def test_shares_are_what_a_hand_counts() -> None:
    pairs = [pair_of(0, "crown", ("crown", "tail"), 3), pair_of(1, "tail", ("crown", "tail", "legs"), 2)]
    before = np.zeros((2, A), dtype=np.int64)
    after = before.copy()
    after[0, INDEX["crown"]] = 3  # followed
    after[1, INDEX["tail"]] = 1  # changed, to a wrong colour
    after[1, INDEX["legs"]] = 4  # and the legs went with it
    after[1, INDEX["wing"]] = 4  # not mentioned: not asked
    block = swap_block(pairs, Answers(before, after), 0)
    assert block["new_colour"]["value"] == 0.5
    assert block["old_colour"]["value"] == 0.0
    assert block["others_kept"] == {**block["others_kept"], "value": 2 / 3, "count": 3}
    assert block["others_right_before"]["value"] == 1.0
    assert block["new_colour_by_part"]["crown"]["value"] == 1.0
    control = control_block(pairs, Answers(before, after), 0)
    assert control["named_kept"]["value"] == 0.0
    assert goals(block)["new_colour"] == {"value": 0.5, "asked": 0.7, "reached": False}
    assert goals({"new_colour": {"value": 0.7}, "others_kept": {"value": 0.9}})["others_kept"]["reached"]


def test_the_interval_resamples_species() -> None:
    right = np.ones((100, 1), dtype=bool)
    right[:50] = False
    asked = np.ones_like(right)
    two = share(right, asked, np.repeat([0, 1], 50), 0)
    assert two["interval"] == [0.0, 1.0]  # two species, one all wrong: anything between is possible
    many = share(right, asked, np.arange(100), 0)
    assert 0.38 < many["interval"][0] < 0.45 < 0.55 < many["interval"][1] < 0.62
    assert np.isnan(share(right, ~asked, np.arange(100), 0)["value"])


@pytest.fixture(scope="module")
def model(encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, config = tmp_path_factory.mktemp("model"), small_config()
    generator = initialise(Generator(config.generator))
    save_model(folder, config, generator, encoders, build_discriminators(config))  # type: ignore[arg-type]
    return folder


def test_a_model_that_knows_nothing_does_not_follow_and_real_birds_do(model: Path) -> None:
    result = swaps_of(model, count=40, seed=0)
    swap, real = result["scores"]["swap"], result["scores"]["real"]
    assert swap["new_colour"]["value"] < 0.5
    assert real["new_colour"]["value"] > 0.9
    assert real["others_kept"]["value"] > 0.9
    assert result["scores"]["control"]["moved"] >= 0
    again = swaps_of(model, count=40, seed=0)
    assert again["scores"] == result["scores"]


def test_the_command_prints_and_writes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "swaps.json"
    assert main(["ablate", "swaps", "--model", str(model), "--count", "10", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "10 swaps of 10 held-out species" in told
    assert "NOT reached: the named part has the new colour, asked 70%" in told
    result = json.loads(out.read_text())
    assert result["protocol"]["name"] == "swaps"
    assert "small, generator sha256" in result["model"]
    config = json.loads((model / "config.json").read_text())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for path in model.iterdir():
        (foreign / path.name).write_bytes(path.read_bytes())
    config["data"]["layout"] = "cub"
    (foreign / "config.json").write_text(json.dumps(config))
    assert main(["ablate", "swaps", "--model", str(foreign)]) == 2
    assert "swaps need a model of the embedded birds" in capsys.readouterr().err
