"""R-precision of a model on captions and images from disk, by the release's rule and by one that can be repeated.

The image code of a generated image is compared with its caption and with 99 captions of other classes, through the
image and text encoders of the model's own folder. Those trained the generator, so the figure flatters it; that is how
the release and the papers after it measure, and why the real images' figure stands beside it.

Axis letters: I images, D distractors, E encoder width, N captions of the data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.dmgan.data.check import Files, keys_of
from reference_models.dmgan.data.open import open_folder, told_layout, unsplit
from reference_models.dmgan.data.released_layout import EVALUATION_WORDS
from reference_models.dmgan.data.sentences import shorten
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.numbers import at_least
from reference_models.dmgan.evaluation.protocol import Protocol
from reference_models.dmgan.evaluation.store import file_sha256
from reference_models.dmgan.metrics import r_precision
from reference_models.dmgan.sampling import SampledModel, generate, load_model
from reference_models.dmgan.training.weights import load_encoders, model_folder

DISTRACTORS = 99
SPLITS = 10

Say = Callable[[str], None]


@dataclass(frozen=True)
class CaptionBank:
    """Every caption of a split, and whose it is."""

    texts: tuple[str, ...]  # N, cut to the word limit
    owners: np.ndarray  # (N,) the image of each caption
    classes: np.ndarray  # (N,) its class

    def chosen(self, count: int, seed: int) -> np.ndarray:
        """(count,) captions to draw: every image once before any comes again, a random caption of each."""
        rng = np.random.default_rng([seed, 1])
        by_image = np.split(np.arange(len(self.owners)), np.flatnonzero(np.diff(self.owners)) + 1)
        picked: list[int] = []
        while len(picked) < count:
            for image in rng.permutation(len(by_image))[: count - len(picked)]:
                picked.append(int(rng.choice(by_image[image])))
        return np.array(picked)

    def fixed_distractors(self, chosen: np.ndarray, seed: int) -> np.ndarray:
        """(I, 99) different captions of other classes; those of image ``i`` depend on (seed, i) alone."""
        rows = []
        for index, caption in enumerate(chosen):
            others = np.flatnonzero(self.classes != self.classes[caption])
            rng = np.random.default_rng([seed, 2, index])
            rows.append(rng.choice(others, DISTRACTORS, replace=len(others) < DISTRACTORS))
        return np.stack(rows)

    def drawn_distractors(self, chosen: np.ndarray, seed: int) -> np.ndarray:
        """(I, 99) captions of other classes, drawn one after the other and possibly twice, as the release does."""
        rng = np.random.default_rng([seed, 3])
        rows = []
        for caption in chosen:
            others = np.flatnonzero(self.classes != self.classes[caption])
            rows.append(others[rng.integers(len(others), size=DISTRACTORS)])
        return np.stack(rows)


def caption_bank(images: Files, *, max_words: int | None, seed: int = 0) -> CaptionBank:
    """All captions of ``images``, the long ones sub-sampled to ``max_words`` (None: whole)."""
    texts, owners, classes = [], [], []
    for image in range(len(images)):
        class_id = images.class_id(image)
        for number, text in enumerate(images.texts(image)):
            ids = images.vocabulary.encode(text)
            kept = shorten(ids, max_words or len(ids), np.random.default_rng([seed, 4, image, number]))
            texts.append(images.vocabulary.decode(kept))
            owners.append(image)
            classes.append(class_id)
    if len(set(classes)) < 2:
        raise DataError("R-precision needs captions of at least two classes, the data set has one")
    return CaptionBank(tuple(texts), np.array(owners), np.array(classes))


def data_digest(images: Files, bank: CaptionBank) -> str:
    """sha256 of the names of the images, and of their captions and classes."""
    owned = zip(bank.texts, bank.owners.tolist(), bank.classes.tolist())
    return hashlib.sha256(json.dumps([keys_of(images), *owned]).encode()).hexdigest()


def score_retrieval(
    folder: Path,
    root: Path | str,
    *,
    split: str = "test",
    layout: str | None = None,
    count: int = 30_000,
    batch: int = 10,
    seed: int = 0,
    device: str = "cpu",
    say: Say = lambda _: None,
    warn: Say = lambda _: None,
) -> dict[str, Any]:
    """The result of drawing ``count`` images of the split's captions with the model in ``folder``, its own or a run's.

    Raises:
        DataError: the data's words are not the model's, so that word ids would mean other words.
        FileNotFoundError: the model or its image encoder, or the data, is missing.
    """
    at_least(1, count=count, batch=batch)
    at_least(0, seed=seed)
    folder, layout = model_folder(folder), layout or told_layout(root)
    model = load_model(folder, device=device)
    encoder = load_encoders(folder, model.config).image.to(device)
    images = open_folder(root, split, layout=layout, size=model.generator.config.sizes[-1])
    assert isinstance(images, Files)
    if told := unsplit(images, root):
        warn(told)
    if images.vocabulary != model.vocabulary:
        raise DataError(
            f"{folder} knows other words than {root} ({len(model.vocabulary)} and {len(images.vocabulary)}, or in "
            "another order): it was trained on another data set, or its vocabulary is not that of captions.pickle"
        )
    limit = EVALUATION_WORDS.get(layout)
    bank = caption_bank(images, max_words=limit, seed=seed)
    chosen = bank.chosen(count, seed)
    sentences = encode_sentences(model, bank.texts, batch=50)
    codes = _generated_codes(model, encoder, [bank.texts[index] for index in chosen], batch, seed, say)
    owners = bank.owners[chosen]
    real = _real_codes(encoder, images, sorted(set(owners.tolist())), batch, say)
    real_codes = torch.stack([real[int(owner)] for owner in owners])
    scores = {}
    for name, distractors, cut in (
        ("r_precision_released", bank.drawn_distractors(chosen, seed), True),
        ("r_precision", bank.fixed_distractors(chosen, seed), False),
    ):
        hits = hits_of(codes, sentences, chosen, distractors)
        mean, std = over_splits(hits, cut=cut)
        ceiling, _ = over_splits(hits_of(real_codes, sentences, chosen, distractors), cut=cut)
        scores[name] = {"value": mean, "std": std, "real": ceiling, "chance": 1 / (DISTRACTORS + 1)}
    protocol = Protocol(
        name="retrieval",
        extractors={
            name: file_sha256(folder / f"{name}.safetensors") for name in ("image_encoder", "text_encoder")
        },
        extractor="the model's own DAMSM encoders",
        resize="the image encoder's own",
        normalisation="[-1, 1]",
        count=count,
        reference_count=len(set(owners.tolist())),
        reference_sha256=data_digest(images, bank),
        split=split,
        seed=seed,
        batch_size=batch,
        mask_mode=model.generator.config.mask_mode,
        max_words=limit or 0,
        distractors=DISTRACTORS,
        splits=min(SPLITS, count),
        data=layout,
    )
    return {"protocol": protocol.to_dict(), "scores": scores}


def hits_of(codes: Tensor, sentences: Tensor, chosen: np.ndarray, distractors: np.ndarray) -> Tensor:
    """1 for each image (I, E) that is nearer to its caption of ``sentences`` (N, E) than to all distractors (I, D)."""
    parts = []
    for start in range(0, len(chosen), 250):  # (I, 99, E) of 30,000 images would be six gigabytes
        rows = slice(start, start + 250)
        own, others = sentences[chosen[rows]], sentences[distractors[rows]]
        parts.append(r_precision(codes[rows], own, others, splits=1).hits)
    return torch.cat(parts)


def over_splits(hits: Tensor, *, cut: bool) -> tuple[float, float]:
    """Mean and population standard deviation over ten splits; ``cut``: without the last image of each, as released
    (2,999 of 3,000)."""
    parts = torch.tensor_split(hits.double(), min(SPLITS, len(hits)))
    means = torch.stack(
        [part[: len(part) - 1 if cut and len(part) > 1 else len(part)].mean() for part in parts]
    )
    return float(means.mean()), float(means.std(correction=0))


@torch.inference_mode()
def encode_sentences(model: SampledModel, texts: tuple[str, ...], *, batch: int) -> Tensor:
    """(N, E): the sentence vector of every caption; captions of like length are encoded together."""
    device = next(model.text_encoder.parameters()).device
    ids = [model.vocabulary.encode(text) for text in texts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    found: list[Tensor | None] = [None] * len(ids)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        lengths = torch.tensor([len(ids[index]) for index in part])
        captions = torch.zeros(len(part), int(lengths.max()), dtype=torch.int64)
        for row, index in enumerate(part):
            captions[row, : lengths[row]] = torch.tensor(ids[index])
        for index, sentence in zip(
            part, model.text_encoder(captions.to(device), lengths.to(device))[1].cpu()
        ):
            found[index] = sentence
    return torch.stack([sentence for sentence in found if sentence is not None])


@torch.inference_mode()
def _generated_codes(
    model: SampledModel, encoder: nn.Module, texts: list[str], batch: int, seed: int, say: Say
) -> Tensor:
    device = next(encoder.parameters()).device
    codes: list[Tensor | None] = [None] * len(texts)
    for number, drawn in enumerate(generate(model, texts, seed=seed, batch_size=batch), 1):
        codes[drawn.index] = encoder(drawn.images[-1][None].to(device))[1][0].cpu()
        if number % 100 == 0 or number == len(texts):
            say(f"drew {number}/{len(texts)} images")
    return torch.stack([code for code in codes if code is not None])


@torch.inference_mode()
def _real_codes(
    encoder: nn.Module, images: Files, wanted: list[int], batch: int, say: Say
) -> dict[int, Tensor]:
    device = next(encoder.parameters()).device
    codes: dict[int, Tensor] = {}
    for start in range(0, len(wanted), batch):
        part = wanted[start : start + batch]
        pixels = np.stack([images.item(index, np.random.default_rng(0), train=False).image for index in part])
        batch_of = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        codes |= dict(zip(part, encoder(batch_of.to(device))[1].cpu()))
    say(f"read {len(wanted)} real images")
    return codes
