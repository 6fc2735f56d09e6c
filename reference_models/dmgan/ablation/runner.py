"""Make what is missing of a plan: resumable, idempotent, and safe for several processes on one folder.

::

    DIR/protocol.json                    what all results share
    DIR/seed0/first/, DIR/seed0/full/    one run each: checkpoints, log, export, result.json
    DIR/results.jsonl                    every result.json as a line, written whole
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reference_models.dmgan.ablation.cost import cost
from reference_models.dmgan.ablation.first_stages import take_first_stage, weights_digest
from reference_models.dmgan.ablation.plan import Plan, claim
from reference_models.dmgan.ablation.results import code_facts, collect, read_results
from reference_models.dmgan.ablation.training import FIRST, ArmTrainer, FirstImage, first_config
from reference_models.dmgan.data.batch import CaptionedImages
from reference_models.dmgan.errors import ConfigError
from reference_models.dmgan.files import locked, write_atomically
from reference_models.dmgan.training.log import read_log
from reference_models.dmgan.training.train import Trainer
from reference_models.dmgan.training.weights import Encoders

Score = Callable[[nn.Module, Encoders, Plan], dict[str, Any]]
NEVER = 2**31  # steps: no grids of pictures


@dataclass
class Ablation:
    """A plan on its way in ``out``; :meth:`run` makes what is missing."""

    plan: Plan
    out: Path
    images: CaptionedImages
    encoders: Encoders
    score: Score
    device: torch.device | str = "cpu"
    say: Callable[[str], None] = print
    stored: Path | None = None  # results of another folder, to go on from; first stages may lie beside them
    stored_lines: list[dict[str, Any]] = field(init=False, default_factory=list)

    def run(self, *, minutes: float | None = None) -> bool:
        """Whether the plan is complete; False after ``minutes``, a signal, or where another process holds the rest.

        Raises:
            ConfigError: ``out`` holds an ablation of another protocol, or ``stored`` are results of one; a first
                stage of which results are stored came out in another way here.
        """
        self.stored_lines = read_results(self.stored) if self.stored else []
        claim(self.out, self.plan.protocol())
        self._adopt()
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        made = True
        while made:  # a unit that waited for another process's first stage gets its turn in the next pass
            made = False
            for seed, run in self.plan.units():
                folder = self.folder(seed, run)
                if finished(folder) or not (run == FIRST or finished(self.folder(seed, FIRST))):
                    continue
                with locked(folder / ".lock") as mine:
                    if not mine or finished(folder):
                        continue
                    left = None if deadline is None else (deadline - time.monotonic()) / 60
                    if (left is not None and left <= 0) or not self._make(seed, run, left):
                        self.say(f"stopped in seed {seed}, {run}; the same command goes on")
                        return False
                    made = True
                collect(self.out)
        left = sum(not finished(self.folder(*unit)) for unit in self.plan.units())
        if left:
            self.say(f"{left} runs are in the hands of another process")
        return not left

    def folder(self, seed: int, run: str) -> Path:
        """Where a run is."""
        return self.out / f"seed{seed}" / run

    def _adopt(self) -> None:
        """Take the stored runs as made; a first stage that arms need the weights of only where those came with it."""
        for line in self.stored_lines:
            if line["plan"] != self.plan.digest():
                raise ConfigError(
                    f"`stored` results must be of plan {self.plan.digest()}, this one, got {line['plan']}"
                )
        for line in sorted(self.stored_lines, key=lambda line: line["run"] == FIRST):  # arms first
            folder = self.folder(line["seed"], line["run"])
            needed = line["run"] == FIRST and self._unmade_arms(
                line["seed"]
            )  # the weights, not the result alone
            if not finished(folder) and (not needed or take_first_stage(line, self.stored, folder)):
                write_result(folder, line)
        for seed in self.plan.seeds:
            first = self.folder(seed, FIRST)
            if finished(first) and not (first / "export").is_dir() and self._unmade_arms(seed):
                (first / "result.json").unlink()  # taken as made when no arm needed its weights
        if self.stored_lines:
            collect(self.out)

    def _unmade_arms(self, seed: int) -> bool:
        return seed in self.plan.seeds and any(not finished(self.folder(seed, arm)) for arm in self.plan.arms)

    def _check_first(self, seed: int, scores: dict[str, Any]) -> None:
        made = json.loads(json.dumps(scores))
        for line in self.stored_lines:
            if (line["seed"], line["run"]) == (seed, FIRST) and line["scores"] != made:
                raise ConfigError(
                    f"the first stage of seed {seed} scores otherwise than the stored one, so its stored arms refined "
                    "other images: leave that seed to the machine that made them (--seeds), or leave out --stored"
                )

    def _make(self, seed: int, run: str, minutes: float | None) -> bool:
        folder = self.folder(seed, run)
        trainer = self._trainer(seed, run, folder)
        resumed = trainer.resume()
        self.say(
            f"seed {seed}, {run}: {'going on at' if resumed else 'from'} step {trainer.step} of {trainer.steps}"
        )
        if not trainer.run(minutes=minutes):
            return False
        generator: nn.Module = trainer.networks.average.module
        if run == FIRST:
            generator = FirstImage(generator, max(self.plan.config.generator.sizes))  # type: ignore[arg-type]
        scored = self.score(generator, self.encoders, self.plan)
        if run == FIRST:
            self._check_first(seed, scored["scores"])
        result = {
            "seed": seed,
            "run": run,
            "plan": self.plan.digest(),
            **code_facts(self.device),
            **self._size(run),
            "images": trainer.step * trainer.config.train.batch_size,
            "images_per_second": _speed(folder / "log.jsonl"),
            "skipped_steps": trainer.guards.skipped,
            "evaluation": scored["protocol"],
            "scores": scored["scores"],
        }
        if run == FIRST:
            result["weights"] = weights_digest(folder)
        write_result(folder, result)
        shutil.rmtree(folder / "checkpoints")  # the result stands, and the weights are in `export`
        self.say(f"seed {seed}, {run}: finished")
        return True

    def _trainer(self, seed: int, run: str, folder: Path) -> Trainer:
        plan = self.plan
        train = replace(
            plan.config.train, images=plan.images, seed=seed, sample_every=NEVER, keep_checkpoints=2
        )
        config = replace(plan.config, train=train)
        options: dict[str, Any] = {"device": self.device, "quiet": True}
        if run == FIRST:
            config = first_config(config, plan.first_images, seed)
            return Trainer(config, self.images, self.encoders, folder, **options)
        first = self.folder(seed, FIRST)
        return ArmTrainer(config, run, first, self.images, self.encoders, folder, **options)

    def _size(self, run: str) -> dict[str, int]:
        if run == FIRST:
            return {}
        size = cost(self.plan.config, run)
        return {"parameters": size.parameters, "flops": size.flops}


def finished(folder: Path) -> bool:
    """Whether a run has its result."""
    return (folder / "result.json").is_file()


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """From now on the run in ``folder`` is finished."""
    with write_atomically(folder / "result.json") as temporary:
        temporary.write_text(json.dumps(result) + "\n")


def embedded_scores(networks: Path, say: Callable[[str], None] = lambda _: None, *, batch: int = 50) -> Score:
    """The evaluation's protocol ``embedded``, for :class:`Ablation`; its truth, the same for all runs, is seen once."""
    from reference_models.dmgan.evaluation.drawing import draw_images
    from reference_models.dmgan.evaluation.run import Truth, evaluate_images, look_at_truth

    @cache
    def truth_of(count: int, size: int) -> Truth:
        return look_at_truth(count, real_size=size, folder=networks, say=say)

    def score(generator: nn.Module, encoders: Encoders, plan: Plan) -> dict[str, Any]:
        truth = truth_of(plan.count, plan.config.generator.sizes[-1])
        texts = truth.captions.texts
        fake = draw_images(generator.eval(), encoders.text, encoders.vocabulary, texts, batch=batch, say=say)  # type: ignore[arg-type]
        changes = {
            "batch_size": batch,
            "mask_mode": plan.config.generator.mask_mode,
            "rounding": "round",
            "ema": True,
        }
        return evaluate_images(fake, truth, changes=changes, say=say)

    return score


def _speed(log: Path) -> float | None:
    lines = [line for line in read_log(log) if line.get("images_per_second")]
    return lines[-1]["images_per_second"] if lines else None
