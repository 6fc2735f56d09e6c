"""The parts of the dynamic memory: writer, reader and response gate (DM-GAN, sections 3.1 and 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memgan.layers._hooks import must_be_called
from memgan.ops import memory_project, memory_read, memory_respond, memory_write
from memgan.ops._checks import check_floating_or_cast, check_mask_mode, check_shape, checked_mask
from memgan.ops.memory_read import memory_read_release_rows
from memgan.types import MaskMode, ReadAndAttention


class MemoryWriter(nn.Module):
    """Words → memory slots: :func:`memgan.memory_write` with its weights. Source: equations 2 and 3.

    Args:
        image_channels: C of the features whose mean is the picture's summary.
        word_dim: E of the words.
        memory_dim: M of a slot; None means 2C, as in the paper.
        write_gate: without it a slot is the projected word alone.

    >>> MemoryWriter(3, 5)(torch.zeros(2, 7, 5), torch.zeros(2, 3)).shape
    torch.Size([2, 7, 6])
    """

    def __init__(
        self, image_channels: int, word_dim: int, memory_dim: int | None = None, *, write_gate: bool = True
    ) -> None:
        super().__init__()
        self.memory_dim = 2 * image_channels if memory_dim is None else memory_dim
        self.word = nn.Linear(word_dim, self.memory_dim)
        self.write_gate = write_gate
        if write_gate:
            self.image = nn.Linear(image_channels, self.memory_dim)
            self.gate_word = nn.Linear(word_dim, 1, bias=False)
            self.gate_image = nn.Linear(image_channels, 1, bias=False)

    def forward(self, words: Tensor, image_summary: Tensor, word_mask: Tensor | None = None) -> Tensor:
        """``words`` (B, L, E), ``image_summary`` (B, C) → memory (B, L, M); padding counts as zeros.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        self._check(words, image_summary)
        if (
            not self.write_gate
            or must_be_called(self.word, self.image, bias=True)
            or must_be_called(self.gate_word, self.gate_image, bias=False)
        ):
            return self._by_calls(words, image_summary, word_mask)
        return memory_write(
            words,
            image_summary,
            self.word.weight,
            self.word.bias,
            self.image.weight,
            self.image.bias,
            self.gate_word.weight,
            self.gate_image.weight,
            word_mask,
        )

    def _by_calls(self, words: Tensor, image_summary: Tensor, word_mask: Tensor | None) -> Tensor:
        """:func:`memgan.memory_write` by calling the layers, which runs their hooks and forward."""
        batch, length = words.shape[:2]
        if (mask := checked_mask("MemoryWriter", word_mask, batch, length, words.device)) is not None:
            words = words.masked_fill(~mask[:, :, None], 0.0)
        slots = torch.relu(self.word(words))
        gate = self.gate(words, image_summary)
        if gate is None:
            return slots
        gate = gate[:, :, None]
        return gate * slots + (1 - gate) * torch.relu(self.image(image_summary))[:, None]

    def gate(self, words: Tensor, image_summary: Tensor) -> Tensor | None:
        """The write gate of each word, (B, L); None without one.

        Raises:
            ShapeError: the message names the argument.
        """
        if not self.write_gate:
            return None
        self._check(words, image_summary)
        return torch.sigmoid(self.gate_word(words) + self.gate_image(image_summary)[:, None]).squeeze(2)

    def _check(self, words: Tensor, image_summary: Tensor) -> None:
        """Sizes; without a gate nobody looks at the summary."""
        op = "MemoryWriter"
        check_shape(op, "words", words, (None, None, self.word.in_features), "(B, L, E)")
        if self.write_gate:
            check_shape(
                op, "image_summary", image_summary, (words.shape[0], self.image.in_features), "(B, C)"
            )


class MemoryReader(nn.Module):
    """Memory slots → keys and values, and every pixel's read: :func:`memgan.memory_read` with its weights.

    Source: equations 4 and 5.

    Args:
        image_channels: C of the features, and of keys and values.
        memory_dim: M of a slot.
        scale: factor of the attention scores; 1 as in the paper. An ``nn.Parameter`` of one number is learned.

    >>> MemoryReader(3, 6)(torch.zeros(2, 3, 4, 4), torch.zeros(2, 7, 6))[0].shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, image_channels: int, memory_dim: int, *, scale: float | Tensor = 1.0) -> None:
        super().__init__()
        self.key = nn.Linear(memory_dim, image_channels)
        self.value = nn.Linear(memory_dim, image_channels)
        self.scale = scale

    def address(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """``memory`` (B, L, M) → keys and values, (B, L, C) each, both after a ReLU as in the release.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        check_shape("MemoryReader", "memory", memory, (None, None, self.key.in_features), "(B, L, M)")
        if must_be_called(self.key, self.value, bias=True):
            return torch.relu(self.key(memory)), torch.relu(self.value(memory))
        return memory_project(memory, self.key.weight, self.key.bias, self.value.weight, self.value.bias)

    def forward(
        self,
        image_features: Tensor,
        memory: Tensor,
        word_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
        mask_mode: MaskMode = "aligned",
    ) -> ReadAndAttention:
        """``image_features`` (B, C, H, W), ``memory`` (B, L, M) → what was read (B, C, H, W), attention or None.

        ``mask_mode``: as of :class:`DynamicMemory`.

        Raises:
            ValueError: ``mask_mode`` is neither of its modes.
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        check_mask_mode(mask_mode)
        op, channels, width = "MemoryReader", self.key.out_features, self.key.in_features
        check_shape(op, "image_features", image_features, (None, channels, None, None), "(B, C, H, W)")
        check_shape(op, "memory", memory, (image_features.shape[0], None, width), "(B, L, M)")
        if not must_be_called(self.key, self.value, bias=True):  # those of another kind may cast
            check_floating_or_cast(op, image_features=image_features, memory=memory)
        keys, values = self.address(memory)
        read = memory_read_release_rows if mask_mode == "release" else memory_read
        return read(
            image_features, keys, values, word_mask, scale=self.scale, return_attention=return_attention
        )


class ResponseGate(nn.Module):
    """What was read → the pixel's new feature: :func:`memgan.memory_respond` with its weights.

    Source: equations 6 and 7.

    Args:
        image_channels: C of the features.
        per_channel: False is the release, one gate a pixel, shared by all channels; True is one a channel.

    >>> ResponseGate(3)(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    def __init__(self, image_channels: int, *, per_channel: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * image_channels, image_channels if per_channel else 1)

    def forward(self, image_features: Tensor, read: Tensor) -> Tensor:
        """``image_features``, ``read`` (B, C, H, W) → new features (B, C, H, W).

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
        """
        if must_be_called(self.linear, bias=True):
            gate = self.gate(image_features, read)
            return gate * read + (1 - gate) * image_features
        return memory_respond(image_features, read, self.linear.weight, self.linear.bias)

    def gate(self, image_features: Tensor, read: Tensor) -> Tensor:
        """The gate itself, (B, 1, H, W), or (B, C, H, W) per channel.

        Raises:
            ShapeError: the message names the argument.
        """
        op, channels = "ResponseGate", self.linear.in_features // 2
        check_shape(op, "image_features", image_features, (None, channels, None, None), "(B, C, H, W)")
        check_shape(op, "read", read, tuple(image_features.shape), "(B, C, H, W)")
        both = torch.cat([image_features, read], dim=1)
        return torch.sigmoid(self.linear(both.movedim(1, -1))).movedim(-1, 1)
