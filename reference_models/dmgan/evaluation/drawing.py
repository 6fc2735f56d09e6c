"""Images for an evaluation: those that ``sample`` draws of the same captions with the same seed.

The noise of image ``i`` depends on (seed, i) alone, so an image does not change with the batch size, and the first
1,000 of 10,000 images are those of a run of 1,000. (With ``mask_mode="release"`` images depend on their batch
neighbours all the same; the protocol records it.)

Axis letters: I images, B batch, S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.evaluation.images import Rounding, reduce_to, to_uint8
from reference_models.dmgan.evaluation.judge import SIZE
from reference_models.dmgan.generator import Generator
from reference_models.dmgan.sampling import noise_for
from reference_models.dmgan.text_encoder import word_mask
from reference_models.dmgan.training.distributed import World, summed


@torch.inference_mode()
def draw_images(
    generator: Generator,
    text_encoder: nn.Module,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    *,
    seed: int = 0,
    batch: int = 50,
    rounding: Rounding = "round",
    size: int = SIZE,
    world: World | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> np.ndarray:
    """The last stage's images of ``texts``, (I, size, size, 3) uint8, made 8-bit at their own size first.

    Generator and text encoder must be in eval mode; they run where their weights are, in float32. The processes of
    ``world`` take the batches in turn, the same batches as one process would draw, and each returns all images.
    """
    world = world or World()
    for name, module in (("generator", generator), ("text encoder", text_encoder)):
        if module.training:
            raise DataError(f"the {name} must be in eval mode: call `.eval()` first")
    device = next(generator.parameters()).device
    config = generator.config
    images = np.zeros((len(texts), size, size, 3), dtype=np.uint8)
    for start in range(world.rank * batch, len(texts), world.size * batch):
        part = texts[start : start + batch]
        captions, lengths = encode(vocabulary, part)
        captions, lengths = captions.to(device), lengths.to(device)
        words, sentence = text_encoder(captions, lengths)
        numbers = range(start, start + len(part))
        noise = noise_for(seed, numbers, config.noise_dim + config.condition_dim).to(device)
        output = generator(
            noise[:, : config.noise_dim],
            sentence,
            words,
            word_mask(lengths, words.shape[1]),
            condition_noise=noise[:, config.noise_dim :],
        )
        pixels = reduce_to(to_uint8(output.images[-1].cpu(), rounding), size)
        images[start : start + len(part)] = pixels.permute(0, 2, 3, 1).numpy()
        done = start + len(part)
        if world.first and 10 * done // len(texts) > 10 * start // len(
            texts
        ):  # ten lines, however many images
            say(f"drew {done}/{len(texts)} images")
    # Every image is zero on all ranks but the one that drew it.
    return summed(world, torch.from_numpy(images).to(device)).cpu().numpy() if world.size > 1 else images


def encode(vocabulary: Vocabulary, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Texts → word ids (B, T), lengths (B,); a text without any known word is an error that quotes it."""
    ids = [vocabulary.encode(text) for text in texts]
    for text, words in zip(texts, ids):
        if not words:
            raise DataError(f"the caption {text!r} has no word that the model knows")
    captions = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
    for row, words in enumerate(ids):
        captions[row, : len(words)] = torch.tensor(words)
    return captions, torch.tensor([len(words) for words in ids])
