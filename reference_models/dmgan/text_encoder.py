"""The text encoder: an embedding and a bi-directional LSTM; words and a sentence vector come out.

The two directions are two one-way LSTMs, the second on the captions reversed by an index, instead of one
packed bi-directional one: captions may come in any order, lengths stay on the device and the module can be
exported. The numbers are those of the packed form.

Axis letters: B captions, T word ids with padding, L = the longest caption, E word width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reference_models.dmgan.config import TextConfig
from reference_models.dmgan.errors import ConfigError, DataError


def word_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B,) → (B, L) bool, True for a real word.

    >>> word_mask(torch.tensor([2, 1]), 3).int().tolist()
    [[1, 1, 0], [1, 0, 0]]
    """
    return torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]


class TextEncoder(nn.Module):
    """Captions → word features and a sentence vector (the last state of both directions)."""

    def __init__(self, vocabulary_size: int, config: TextConfig) -> None:
        super().__init__()
        if config.word_dim % 2:
            raise ConfigError(f"`text.word_dim` must be even (two directions), got {config.word_dim}")
        hidden = config.word_dim // 2
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.rightward = nn.LSTM(config.embedding_dim, hidden, batch_first=True)
        self.leftward = nn.LSTM(config.embedding_dim, hidden, batch_first=True)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, captions: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``captions`` (B, T) int64 and ``lengths`` (B,) → words (B, L, E), sentence (B, E).

        Words behind a caption's end are zero. L is the longest length of the batch; an exported or compiled
        encoder keeps L = T. Captions may come in any order.
        """
        if not torch.compiler.is_compiling():
            self._check(captions, lengths)
            captions = captions[:, : int(lengths.max())] if len(lengths) else captions
        position = torch.arange(captions.shape[1], device=captions.device)
        reverse = (lengths[:, None] - 1 - position).clamp(min=0)[:, :, None]
        last = (lengths - 1)[:, None, None]

        embedded = self.dropout(self.embedding(captions))
        rightward, _ = self.rightward(embedded)
        backwards = embedded.gather(1, reverse.expand(-1, -1, embedded.shape[2]))
        leftward, _ = self.leftward(backwards)

        final = last.expand(-1, 1, rightward.shape[2])
        sentence = torch.cat([rightward.gather(1, final), leftward.gather(1, final)], 2).squeeze(1)
        leftward = leftward.gather(1, reverse.expand(-1, -1, leftward.shape[2]))
        words = torch.cat([rightward, leftward], 2)
        return words * word_mask(lengths, captions.shape[1])[:, :, None].to(words.dtype), sentence

    def rnn_parameters(self) -> list[nn.Parameter]:
        """The LSTMs' parameters, whose gradients pre-training clips."""
        return [*self.rightward.parameters(), *self.leftward.parameters()]

    def _check(self, captions: Tensor, lengths: Tensor) -> None:
        if captions.ndim != 2 or lengths.shape != captions.shape[:1]:
            raise DataError(
                "`captions` must be (B, T) and `lengths` (B,), got "
                f"{tuple(captions.shape)} and {tuple(lengths.shape)}"
            )
        if len(lengths) and not (int(lengths.min()) >= 1 and int(lengths.max()) <= captions.shape[1]):
            raise DataError(
                f"`lengths` must be 1 to {captions.shape[1]} (the width of `captions`), got "
                f"{int(lengths.min())} to {int(lengths.max())}"
            )
        known = self.embedding.num_embeddings
        if captions.numel() and not 0 <= int(captions.min()) <= int(captions.max()) < known:
            raise DataError(
                f"word ids must be 0 to {known - 1}, got "
                f"{int(captions.min())} to {int(captions.max())}: is this another vocabulary's caption?"
            )
