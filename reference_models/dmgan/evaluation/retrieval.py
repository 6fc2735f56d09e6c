"""Retrieval: one code for images and captions, to ask which of 100 captions an image was made from.

Another architecture than the generator's own encoders (words through 1-D convolutions and a maximum, no LSTM;
no regions, no words loss), another seed and other renders: a generator cannot have learnt to please it.

Axis letters: B batch, T words with padding, E code width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.data.vocabulary import Vocabulary
from reference_models.dmgan.evaluation.blocks import Residual, convolution


class RetrievalOutput(NamedTuple):
    """What the training of :class:`Retrieval` looks at."""

    similarity: Tensor  # (B, B): scaled cosine of every image with every caption
    seen: list[Tensor]  # per attribute: logits (B, values) of the image
    said: list[Tensor]  # per attribute: logits (B, values + 1) of the caption, the last for "not mentioned"


class CaptionReader(nn.Module):
    """Word ids (B, T) and lengths (B,) → features (B, width); padding changes nothing."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.first = nn.Conv1d(width, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 5, padding=2)

    def forward(self, captions: Tensor, lengths: Tensor) -> Tensor:
        real = (torch.arange(captions.shape[1], device=captions.device)[None] < lengths[:, None])[:, None]
        words = self.embedding(captions).transpose(1, 2) * real
        words = (words + F.relu(self.first(words))) * real
        words = (words + F.relu(self.second(words))).masked_fill(~real, -torch.inf)
        return words.amax(-1).float()


class ImageReader(nn.Module):
    """Images (B, 3, 64, 64) in [-1, 1] → features (B, slots, 3 width): each slot looks where it learnt to."""

    def __init__(self, slots: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, width),
            convolution(width, 2 * width, stride=2),
            Residual(2 * width),
            # Steps of 2 and 4 pixels: a place is known by what is around it, up to half the image away.
            convolution(2 * width, 3 * width, dilation=2),
            convolution(3 * width, 3 * width, dilation=4),
            convolution(3 * width, 3 * width),
        )
        self.attention = nn.Conv2d(3 * width, slots, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        weights = self.attention(features).flatten(2).float().softmax(-1)
        return torch.einsum("bsp,bcp->bsc", weights, features.flatten(2).float())


class Retrieval(nn.Module):
    """Both encoders, their vocabulary, and what only their training needs.

    That is a temperature, and heads that tell each attribute's value of an image, and which value a caption names
    or that it names none: features learn by them in minutes what contrast alone learns in hours.
    """

    def __init__(
        self,
        words: Sequence[str],
        values: Sequence[int],
        code: int = 96,
        width: int = 32,
        text_width: int = 128,
    ) -> None:
        super().__init__()
        self.vocabulary, self.values = Vocabulary(words), tuple(values)
        self.sizes = {"code": code, "width": width, "text_width": text_width}
        self.captions = CaptionReader(len(self.vocabulary), text_width)
        self.images = ImageReader(len(self.values), width)
        self.caption_code = nn.Linear(text_width, code)
        self.image_code = nn.Linear(len(self.values) * 3 * width, code)
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        self.image_heads = nn.ModuleList(nn.Linear(3 * width, count) for count in self.values)
        self.caption_heads = nn.ModuleList(nn.Linear(text_width, count + 1) for count in self.values)

    def settings(self) -> dict[str, object]:
        """What the constructor needs to build this network again."""
        return {"words": list(self.vocabulary.words), "values": list(self.values), **self.sizes}

    def encode_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts → (word ids (B, T), lengths (B,)) in this network's vocabulary; unknown words are dropped."""
        ids = [self.vocabulary.encode(text) or [0] for text in texts]
        captions = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
        for row, words in enumerate(ids):
            captions[row, : len(words)] = torch.tensor(words)
        return captions, torch.tensor([len(words) for words in ids])

    def image(self, images: Tensor) -> Tensor:
        """Unit codes (B, E) of images."""
        return F.normalize(self.image_code(self.images(images).flatten(1)).float(), dim=-1)

    def caption(self, captions: Tensor, lengths: Tensor) -> Tensor:
        """Unit codes (B, E) of captions."""
        return F.normalize(self.caption_code(self.captions(captions, lengths)).float(), dim=-1)

    def forward(self, images: Tensor, captions: Tensor, lengths: Tensor) -> RetrievalOutput:
        """Images and captions (B, ...), each caption true of its image."""
        slots, sentence = self.images(images), self.captions(captions, lengths)
        image = F.normalize(self.image_code(slots.flatten(1)).float(), dim=-1)
        caption = F.normalize(self.caption_code(sentence).float(), dim=-1)
        return RetrievalOutput(
            self.log_scale.exp().clamp(max=100.0) * image @ caption.T,
            [head(slots[:, index]) for index, head in enumerate(self.image_heads)],
            [head(sentence) for head in self.caption_heads],
        )
