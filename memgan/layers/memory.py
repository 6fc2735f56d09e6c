"""The dynamic memory, whole (DM-GAN, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from memgan.layers._hooks import hooked, must_be_called, replaced
from memgan.layers.memory_parts import MemoryReader, MemoryWriter, ResponseGate
from memgan.ops import memory_read, memory_refine
from memgan.ops._checks import check_floating_or_cast, check_mask_mode, check_shape, checked_mask
from memgan.ops.memory_read import memory_read_release_rows
from memgan.types import MaskMode, ReadAndAttention


class MemoryInspection(NamedTuple):
    """What a memory did with a batch: the result of :meth:`DynamicMemory.inspect`.

    >>> seen = DynamicMemory(4, 6).inspect(torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 6))
    >>> seen.attention.shape, seen.write_gate.shape, seen.response_gate.shape
    (torch.Size([2, 5, 8, 8]), torch.Size([2, 5]), torch.Size([2, 1, 8, 8]))
    """

    attention: Tensor
    """``(B, L, H, W)``, sums to 1 over L and is 0 on padding.

    Two exceptions: an image without any real word has zeros alone, and in the mask mode ``"release"`` a pixel
    follows the mask row that it takes there, often another caption's.
    """
    write_gate: Tensor | None
    """``(B, L)`` in [0, 1], 0 on padding; None without a write gate."""
    response_gate: Tensor | None
    """``(B, 1, H, W)`` in [0, 1]; None without a response gate."""


class DynamicMemory(nn.Module):
    """Write the words into memory, let every pixel read it, and gate what was read into the pixel.

    Source: sections 3.1 and 3.2, equations 2 to 7.

    Args:
        image_channels: C of the features that are refined.
        word_dim: E of the words; any text encoder's states.
        memory_dim: M; None means 2C, as in the paper.
        write_gate: without it a slot is the projected word alone.
        response_gate: without it the result is what was read.
        scale: factor of the attention scores; 1 as in the paper. An ``nn.Parameter`` of one number is learned.
        detach_summary: the write gate sees the image without passing gradients to it, as in the release.
        mask_mode: ``"aligned"``: each image uses its own mask. ``"release"``: the DM-GAN release's mask rows,
            which make an image depend on its batch neighbours; only to reproduce released batch outputs, and
            always read by the plain definition.

    Raises:
        ValueError: ``mask_mode`` is neither.

    >>> memory = DynamicMemory(image_channels=4, word_dim=6)
    >>> features, attention = memory(torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 6), return_attention=True)
    >>> features.shape, attention.shape
    (torch.Size([2, 4, 8, 8]), torch.Size([2, 5, 8, 8]))
    """

    def __init__(
        self,
        image_channels: int,
        word_dim: int,
        memory_dim: int | None = None,
        *,
        write_gate: bool = True,
        response_gate: bool = True,
        scale: float | Tensor = 1.0,
        detach_summary: bool = True,
        mask_mode: MaskMode = "aligned",
    ) -> None:
        super().__init__()
        check_mask_mode(mask_mode)
        self.writer = MemoryWriter(image_channels, word_dim, memory_dim, write_gate=write_gate)
        self.reader = MemoryReader(image_channels, self.writer.memory_dim, scale=scale)
        self.response = ResponseGate(image_channels) if response_gate else None
        self.detach_summary = detach_summary
        self.mask_mode = mask_mode
        self.image_channels = image_channels
        self.word_dim = word_dim

    @property
    def gated(self) -> bool:
        """Whether the result is the gated feature (True) or what was read (False)."""
        return self.response is not None

    def forward(
        self,
        image_features: Tensor,
        words: Tensor,
        word_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> ReadAndAttention:
        """``image_features`` (B, C, H, W), ``words`` (B, L, E), ``word_mask`` (B, L) → features, attention or None.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        mask, summary = self._prepared(image_features, words, word_mask)
        memory = self._written(words, summary, mask)
        if self.mask_mode == "release":
            read, attention = self.reader(
                image_features, memory, mask, return_attention=return_attention, mask_mode="release"
            )
        elif (
            self.response is None
            or hooked(self.reader, self.response)
            or replaced(self.reader, MemoryReader)
            or replaced(self.response, ResponseGate)
            or must_be_called(self.response.linear, bias=True)
        ):
            read, attention = self.reader(image_features, memory, mask, return_attention=return_attention)
        else:
            keys, values = self.reader.address(memory)
            gate = self.response.linear
            return memory_refine(
                image_features,
                keys,
                values,
                mask,
                gate.weight,
                gate.bias,
                scale=self.reader.scale,
                return_attention=return_attention,
            )
        return (read if self.response is None else self.response(image_features, read)), attention

    @torch.no_grad()
    def inspect(
        self, image_features: Tensor, words: Tensor, word_mask: Tensor | None = None
    ) -> MemoryInspection:
        """The attention, the write gate per word and the response gate per pixel; same arguments as the call.

        Raises:
            ShapeError, DtypeError, DeviceError: the message names the argument.
            BackendUnavailable: a backend was forced and cannot run this input.
        """
        mask, summary = self._prepared(image_features, words, word_mask)
        keys, values = self.reader.address(self._written(words, summary, mask))
        read_of = memory_read_release_rows if self.mask_mode == "release" else memory_read
        scale = self.reader.scale
        read, attention = read_of(image_features, keys, values, mask, scale=scale, return_attention=True)
        assert attention is not None
        write = self.writer.gate(words, summary)
        if write is not None and mask is not None:
            write = write.masked_fill(~mask, 0.0)
        response = None if self.response is None else self.response.gate(image_features, read)
        return MemoryInspection(attention, write, response)

    def _prepared(
        self, image_features: Tensor, words: Tensor, word_mask: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """The mask as bool, and the image summary r̄ (B, C); all arguments are checked."""
        op = "DynamicMemory"
        images = (None, self.image_channels, None, None)
        check_shape(op, "image_features", image_features, images, "(B, C, H, W)")
        check_shape(op, "words", words, (image_features.shape[0], None, self.word_dim), "(B, L, E)")
        check_floating_or_cast(op, image_features=image_features, words=words)
        mask = checked_mask(op, word_mask, words.shape[0], words.shape[1], words.device)
        # A mean, not a sum divided: in float16 the sum of a large image overflows. Without pixels it is 0.
        empty = 0 in image_features.shape[2:]
        summary = image_features.sum((2, 3)) if empty else image_features.mean((2, 3))
        return mask, summary.detach() if self.detach_summary else summary

    def _written(self, words: Tensor, summary: Tensor, mask: Tensor | None) -> Tensor:
        """The words' slots; in the release padding is written as any word."""
        memory: Tensor = self.writer(words, summary, None if self.mask_mode == "release" else mask)
        return memory

    def extra_repr(self) -> str:
        return f"detach_summary={self.detach_summary}, mask_mode={self.mask_mode!r}"
