"""A whole ablation in small: shared first stages, pairs, going on, and nothing made twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_models.dmgan.ablation.plan import Plan, encoder_digests
from reference_models.dmgan.ablation.results import key_of, read_results
from reference_models.dmgan.ablation.runner import Ablation, embedded_scores, finished
from reference_models.dmgan.ablation.training import ArmTrainer, load_arm
from reference_models.dmgan.config import birds_demo
from reference_models.dmgan.errors import ConfigError, DataError
from reference_models.dmgan.evaluation.store import SHIPPED
from reference_models.dmgan.files import locked
from reference_models.dmgan.training.loader import batches
from tests.reference_models.dmgan.ablation.conftest import (
    STEPS,
    pixel_score,
    put_away,
    small_config,
    small_plan,
)

Make = Callable[..., Ablation]
ROOT = Path(__file__).parents[4]
STORED = ROOT / "docs" / "results" / "ablation.jsonl"
DEMO = ROOT / "reference_models" / "dmgan" / "weights" / "birds_demo"


def test_every_run_is_made_once_and_results_are_whole_lines(ablation: Make, tmp_path: Path) -> None:
    said: list[str] = []
    assert ablation(said=said).run()
    lines = read_results(tmp_path)
    assert [key_of(line) for line in lines] == [(s, r) for s in (0, 1) for r in ("baseline", "first", "full")]
    for line in lines:
        assert line["plan"] == small_plan().digest()
        assert len(line["commit"]) == 40 or line["commit"] == "unknown"
        assert line["images"] == (2 if line["run"] == "first" else 2 * STEPS)
    assert lines[0]["parameters"] < lines[2]["parameters"]
    assert not list(tmp_path.rglob("*.pt")), "a finished run keeps its result and export, no checkpoints"

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    again: list[str] = []
    assert ablation(said=again).run()
    assert again == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")} == before


def test_all_arms_of_a_seed_refine_the_same_frozen_first_stage(ablation: Make, tmp_path: Path) -> None:
    assert ablation(small_plan(seeds=(0,))).run()
    config = small_config()
    generators = {arm: load_arm(tmp_path / "seed0" / arm, config, arm) for arm in ("baseline", "full")}
    noise, sentence, words = torch.randn(3, 5), torch.randn(3, 8), torch.randn(3, 4, 8)
    drawn = {
        arm: g(noise, sentence, words, condition_noise=torch.zeros(3, 6)).images
        for arm, g in generators.items()
    }
    assert torch.equal(drawn["baseline"][0], drawn["full"][0])
    assert not torch.equal(drawn["baseline"][2], drawn["full"][2])
    first = ablation().folder(0, "first") / "export"
    assert (first / "generator.safetensors").is_file()


def test_training_an_arm_moves_its_refinements_alone(ablation: Make, tmp_path: Path) -> None:
    made = ablation(small_plan(seeds=(0,), arms=("baseline",)))
    assert made.run()
    trainer = ArmTrainer(
        small_config(), "full", tmp_path / "seed0" / "first", made.images, made.encoders, tmp_path / "arm"
    )
    assert [one.size for one in trainer.networks.discriminators] == [32, 64], "frozen images need no judge"
    generator = trainer.networks.generator
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    for _ in range(2):
        trainer.one_step(
            next(iter(batches(made.images, sizes=(16, 32, 64), batch_size=2, seed=0, steps=4))), None
        )
    for name, value in generator.state_dict().items():
        moved = not torch.equal(value, before[name])
        part = name.split(".")[0]
        first = part in ("conditioning", "initial") or name.startswith("heads.0")
        assert moved != first, name


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(ablation: Make, tmp_path: Path) -> None:
    plan = small_plan(seeds=(0,), arms=("full",))
    whole = ablation(plan, out=tmp_path / "whole")
    assert whole.run()

    said: list[str] = []
    cut = ablation(plan, out=tmp_path / "cut", said=said)
    stops = 0
    while not cut.run(minutes=2e-4):  # 12 ms: a step or two at a time
        stops += 1
        assert stops < 12
        assert "the same command goes on" in said[-1]
        assert not finished(cut.folder(0, "full"))
    assert stops > 0
    for name in ("first", "full"):
        ours, theirs = (out.folder(0, name) / "result.json" for out in (cut, whole))
        assert json.loads(ours.read_text())["scores"] == json.loads(theirs.read_text())["scores"]


def test_a_run_that_died_goes_on_from_its_checkpoint(ablation: Make, tmp_path: Path) -> None:
    plan = small_plan(seeds=(0,), arms=("full",))
    whole = ablation(plan, out=tmp_path / "whole")
    assert whole.run()
    died = ablation(plan, out=tmp_path / "died")

    def fail(*_: object) -> dict:
        raise RuntimeError("the power failed")

    died.score = fail
    with pytest.raises(RuntimeError, match="power"):
        died.run()
    assert not finished(died.folder(0, "first"))
    said: list[str] = []
    died.score, died.say = pixel_score, said.append
    assert died.run()
    assert "first: going on at step 1 of 1" in said[0]
    scores = [
        json.loads((out.folder(0, "full") / "result.json").read_text())["scores"] for out in (died, whole)
    ]
    assert scores[0] == scores[1]


def test_seeds_and_arms_are_added_and_another_protocol_is_refused(ablation: Make, tmp_path: Path) -> None:
    assert ablation(small_plan(seeds=(1,), arms=("full",))).run()
    said: list[str] = []
    assert ablation(small_plan(seeds=(1, 0), arms=("full",)), said=said).run()
    assert not any(line.startswith("seed 1") for line in said)
    with pytest.raises(ConfigError, match="holds an ablation with `images` 6, this one has 8"):
        ablation(small_plan(images=8)).run()
    with pytest.raises(ConfigError, match=r"`encoders\.text_encoder\.safetensors` 'ab', this one has 'cd'"):
        ablation(small_plan(encoders={"text_encoder.safetensors": "cd"})).run()


def test_stored_results_are_gone_on_from_elsewhere(ablation: Make, tmp_path: Path) -> None:
    part, whole = small_plan(seeds=(0,), arms=("baseline",)), small_plan(seeds=(0,))
    assert ablation(part, out=tmp_path / "one").run()
    stored = read_results(tmp_path / "one")
    said: list[str] = []
    other = ablation(whole, out=tmp_path / "two", said=said, stored=put_away(tmp_path / "one"))
    assert other.run()
    assert [line for line in said if "from step 0" in line] == [
        "seed 0, first: from step 0 of 1",  # its weights are not stored
        "seed 0, full: from step 0 of 3",
    ]
    lines = read_results(tmp_path / "two")
    assert [key_of(line) for line in lines] == [(0, "baseline"), (0, "first"), (0, "full")]
    assert lines[0] == stored[0]
    assert ablation(whole, out=tmp_path / "one").run()
    assert read_results(tmp_path / "one")[2]["scores"] == lines[2]["scores"], "the pair is the same"


def test_a_first_stage_is_made_again_only_once_an_arm_needs_it(ablation: Make, tmp_path: Path) -> None:
    """Another kind of machine rounds otherwise: the seeds that are complete must not hang on that."""
    part, whole = small_plan(seeds=(0,), arms=("full",)), small_plan(seeds=(0,))
    assert ablation(part, out=tmp_path / "one").run()
    stored = read_results(tmp_path / "one")
    said: list[str] = []
    other = ablation(part, out=tmp_path / "two", said=said, stored=put_away(tmp_path / "one"))
    for _ in range(2):
        assert other.run()
        assert said == []
        assert read_results(tmp_path / "two") == stored
    assert ablation(whole, out=tmp_path / "two", said=said, stored=other.stored).run()
    assert [line for line in said if "from step 0" in line] == [
        "seed 0, first: from step 0 of 1",
        "seed 0, baseline: from step 0 of 3",
    ]
    again: list[str] = []
    assert ablation(whole, out=tmp_path / "two", said=again).run()
    assert again == []


def test_stored_seeds_that_are_not_asked_for_stay_among_the_results(ablation: Make, tmp_path: Path) -> None:
    assert ablation(small_plan(seeds=(0,), arms=("full",)), out=tmp_path / "one").run()
    said: list[str] = []
    plan, kept = small_plan(seeds=(1,)), put_away(tmp_path / "one")
    assert ablation(plan, out=tmp_path / "two", said=said, stored=kept).run()
    assert not any(line.startswith("seed 0") for line in said)
    lines = read_results(tmp_path / "two")
    assert lines[:2] == read_results(tmp_path / "one")
    assert [key_of(line) for line in lines[2:]] == [(1, "baseline"), (1, "first"), (1, "full")]


def test_stored_results_that_do_not_fit_are_refused(ablation: Make, tmp_path: Path) -> None:
    plan = small_plan(seeds=(0,), arms=("baseline",))
    assert ablation(plan, out=tmp_path / "one").run()
    other = ablation(small_plan(seeds=(0,)), out=tmp_path / "two")
    other.stored = put_away(tmp_path / "one", lambda line: {**line, "plan": "abc"})
    with pytest.raises(ConfigError, match=f"must be of plan {plan.digest()}, this one, got abc"):
        other.run()
    assert not list((tmp_path / "two").rglob("result.json"))
    other.stored = put_away(
        tmp_path / "one",
        lambda line: {**line, "scores": {**line["scores"], "r_precision": {"value": 0.5}}},
    )
    with pytest.raises(ConfigError, match="first stage of seed 0 scores otherwise than the stored one"):
        other.run()
    assert not finished(other.folder(0, "first"))


def test_a_run_in_other_hands_is_left_alone(ablation: Make, tmp_path: Path) -> None:
    plan = small_plan(seeds=(0, 1), arms=("full",))
    said: list[str] = []
    mine = ablation(plan, said=said)
    with locked(mine.folder(0, "first") / ".lock") as held:
        assert held
        assert not mine.run()
    assert "2 runs are in the hands of another process" in said[-1]
    assert finished(mine.folder(1, "full"))
    assert not finished(mine.folder(0, "full"))
    assert mine.run()


def test_a_plan_says_what_is_wrong_with_it() -> None:
    for changes, told in (
        ({"arms": ("half",)}, "`arms` must be some of .*, got half"),
        ({"seeds": (0, 0)}, "distinct"),
        ({"images": 0}, "`images` must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=told):
            small_plan(**changes)


def test_the_shipped_plan_is_the_one_of_the_stored_results() -> None:
    """Or nobody could go on with them: fields that came later change nothing while they are off."""
    plan = Plan(config=birds_demo(), encoders=encoder_digests(DEMO))
    assert {line["plan"] for line in read_results(STORED)} == {plan.digest()}
    statistics = replace(plan.config, discriminator=replace(plan.config.discriminator, minibatch_std=16))
    assert replace(plan, config=statistics).digest() != plan.digest()


def test_damaged_and_mixed_results_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    line = {"seed": 0, "run": "full", "plan": "a", "evaluation": {"count": 1}, "scores": {}}
    for second, told in (
        ("{half", "line 2: not a result"),
        ('{"seed": 1}', "line 2: not a result"),
        (json.dumps(line), "seed 0, full is there twice"),
        (json.dumps({**line, "seed": 1, "plan": "b"}), "plans a and b"),
        (json.dumps({**line, "seed": 1, "evaluation": {"count": 2}}), "count is 1 and 2"),
    ):
        path.write_text(json.dumps(line) + "\n" + second + "\n")
        with pytest.raises(DataError, match=told):
            read_results(path)
    with pytest.raises(FileNotFoundError, match="`ablate run` writes it"):
        read_results(tmp_path / "none.jsonl")


@pytest.mark.usefixtures("own_cache")
def test_the_evaluation_scores_arms_and_first_images_alike(ablation: Make, tmp_path: Path) -> None:
    plan: Plan = small_plan(seeds=(0,), arms=("full",))
    made = ablation(plan, out=tmp_path / "out")
    made.score = embedded_scores(SHIPPED)
    assert made.run()
    lines = read_results(tmp_path / "out")
    assert [line["run"] for line in lines] == ["first", "full"]
    assert lines[0]["evaluation"]["name"] == "embedded"
    assert all(-1 < line["scores"]["attributes"]["progress"] < 1 for line in lines)
