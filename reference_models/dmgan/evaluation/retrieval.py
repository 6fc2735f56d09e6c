"""Retrieval: one code for images and captions, to ask which of 100 captions an image was made from.

Another architecture than the generator's own encoders (words through 1-D convolutions and a maximum, no LSTM;
no regions, no words loss), another seed and other renders: a generator cannot have learnt to please it.

Axis letters: B batch, T words with padding, E code width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.evaluation.blocks import Residual, convolution


class CaptionCode(nn.Module):
    """Word ids (B, T) and lengths (B,) → unit codes (B, E); padding changes nothing."""

    def __init__(self, vocabulary: int, code: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.first = nn.Conv1d(width, width, 3, padding=1)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.project = nn.Linear(width, code)

    def forward(self, captions: Tensor, lengths: Tensor) -> Tensor:
        real = (torch.arange(captions.shape[1], device=captions.device)[None] < lengths[:, None])[:, None]
        words = self.embedding(captions).transpose(1, 2) * real
        words = (words + F.relu(self.first(words))) * real
        words = (words + F.relu(self.second(words))).masked_fill(~real, -torch.inf)
        return F.normalize(self.project(words.amax(-1)).float(), dim=-1)


class ImageCode(nn.Module):
    """Images (B, 3, 64, 64) in [-1, 1] → unit codes (B, E); ``slots`` attentions choose where to look."""

    def __init__(self, code: int, width: int, slots: int = 12) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, width),
            convolution(width, 2 * width, stride=2),
            Residual(2 * width),
            convolution(2 * width, 3 * width),
        )
        self.attention = nn.Conv2d(3 * width, slots, 1)
        self.project = nn.Linear(slots * 3 * width, code)

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        weights = self.attention(features).flatten(2).float().softmax(-1)
        read = torch.einsum("bsp,bcp->bsc", weights, features.flatten(2).float())
        return F.normalize(self.project(read.flatten(1)).float(), dim=-1)


class Retrieval(nn.Module):
    """Both encoders, their vocabulary and the temperature of their training."""

    def __init__(self, words: Sequence[str], code: int = 96, width: int = 32, text_width: int = 128) -> None:
        super().__init__()
        from reference_models.dmgan.data.vocabulary import Vocabulary

        self.vocabulary = Vocabulary(words)
        self.sizes = {"code": code, "width": width, "text_width": text_width}
        self.caption = CaptionCode(len(self.vocabulary), code, text_width)
        self.image = ImageCode(code, width)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def settings(self) -> dict[str, object]:
        """What the constructor needs to build this network again."""
        return {"words": list(self.vocabulary.words), **self.sizes}

    def encode_texts(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Texts → (word ids (B, T), lengths (B,)) in this network's vocabulary; unknown words are dropped."""
        ids = [self.vocabulary.encode(text) or [0] for text in texts]
        captions = torch.zeros(len(ids), max(map(len, ids)), dtype=torch.int64)
        for row, words in enumerate(ids):
            captions[row, : len(words)] = torch.tensor(words)
        return captions, torch.tensor([len(words) for words in ids])

    def forward(self, images: Tensor, captions: Tensor, lengths: Tensor) -> Tensor:
        """Scaled cosine of every image with every caption, (B, B)."""
        scale = self.log_scale.exp().clamp(max=100.0)
        return scale * self.image(images) @ self.caption(captions, lengths).T
