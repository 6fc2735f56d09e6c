"""DAMSM pre-training (AttnGAN, section 3.2): the text and the image encoder learn to find each other."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from reference_models.dmgan.config import Config
from reference_models.dmgan.data.batch import Batch, CaptionedImages
from reference_models.dmgan.image_encoder import build_image_encoder, trained_parameters
from reference_models.dmgan.losses import damsm_loss
from reference_models.dmgan.text_encoder import TextEncoder
from reference_models.dmgan.training.loader import batches
from reference_models.dmgan.training.log import TrainingLog
from reference_models.dmgan.training.step import PRECISIONS
from reference_models.dmgan.training.weights import Encoders, save_encoders

# The release decays its learning rate an epoch; without epochs of its own, the embedded data decays every so often.
LOOKS = 20


def pretrain(
    config: Config,
    images: CaptionedImages,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> Encoders:
    """Train both encoders on ``images`` and write them to ``out``.

    One Adam for the whole run (the release makes a new one each epoch), 0.98 an epoch down to a tenth; the
    text encoder's recurrent gradients are clipped. Both DAMSM losses, both directions.
    """
    settings = config.pretrain
    torch.manual_seed(settings.seed)
    device = torch.device(device)
    encoders = Encoders(
        TextEncoder(len(images.vocabulary), config.text).to(device).train(),
        build_image_encoder(config).to(device, memory_format=torch.channels_last).train(),  # type: ignore[call-overload]
        images.vocabulary,
    )
    parameters = [*encoders.text.parameters(), *trained_parameters(encoders.image)]
    optimizer = torch.optim.Adam(parameters, settings.learning_rate, (0.5, 0.999), foreach=True)
    steps = max(1, settings.images // settings.batch_size)
    log = TrainingLog(out / "log.jsonl", steps * settings.batch_size, what="pretrain", quiet=quiet)
    began, look = time.perf_counter(), max(1, steps // LOOKS)
    dtype = PRECISIONS[config.train.precision]
    stream = batches(
        images,
        sizes=(config.image_encoder.image_size,) if config.image_encoder.kind == "small" else (304,),
        batch_size=settings.batch_size,
        seed=settings.seed,
        steps=steps,
        workers=config.data.workers,
    )
    for step, batch in enumerate(stream):
        batch = batch.to(device)
        # Cosine to a tenth: the release's 0.98 an epoch, for runs that are not counted in epochs.
        progress = step / steps
        rate = settings.learning_rate * max(0.1, settings.decay ** (progress * 114))  # 0.98^114 = 0.1
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, dtype=dtype, enabled=dtype == torch.bfloat16):
            regions, code = encoders.image(batch.images[-1].contiguous(memory_format=torch.channels_last))
        terms = _terms(encoders, batch, regions, code, config)
        optimizer.zero_grad(set_to_none=True)
        terms.backward()
        torch.nn.utils.clip_grad_norm_(encoders.text.rnn_parameters(), settings.rnn_gradient_clip)
        optimizer.step()
        if (step + 1) % look == 0 or step + 1 == steps:
            accuracy = retrieval_accuracy(encoders, batch)
            log.write((step + 1) * settings.batch_size, {"damsm": float(terms.detach()), "top1": accuracy})
    encoders.text.eval().requires_grad_(False)
    encoders.image.eval().requires_grad_(False)
    save_encoders(out, encoders, config)
    log.say(f"wrote {out} after {time.perf_counter() - began:.0f} s")
    log.close()
    return encoders


def _terms(encoders: Encoders, batch: Batch, regions: Tensor, code: Tensor, config: Config) -> Tensor:
    words, sentence = encoders.text(batch.captions, batch.lengths)
    mask = batch.word_mask[:, : words.shape[1]]
    return damsm_loss(regions, code, words, sentence, mask, batch.class_ids, config=config.loss).total


@torch.no_grad()
def retrieval_accuracy(encoders: Encoders, batch: Batch) -> float:
    """Share of images whose own sentence is nearest to their code among the batch's."""
    training = encoders.text.training
    encoders.text.eval()
    _, sentence = encoders.text(batch.captions, batch.lengths)
    encoders.text.train(training)
    _, code = encoders.image(batch.images[-1])
    similarity = torch.nn.functional.normalize(code) @ torch.nn.functional.normalize(sentence).t()
    return float((similarity.argmax(1) == torch.arange(len(batch), device=code.device)).float().mean())
