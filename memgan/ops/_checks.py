"""Checks with one voice: the message names the argument, what was expected and what came."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from memgan.errors import DeviceError, DtypeError, ShapeError
from memgan.types import MaskMode


def check_mask_mode(mask_mode: object) -> None:
    """``mask_mode`` must be one of the two."""
    if mask_mode not in get_args(MaskMode):
        raise ValueError(f"`mask_mode` must be one of {', '.join(get_args(MaskMode))}, got {mask_mode!r}")


def check_tensor(op: str, name: str, value: object) -> None:
    """``value`` must be a tensor; the sizes and dtypes of one can then be asked for."""
    if not isinstance(value, Tensor):
        raise DtypeError(f"{op}: `{name}` must be a tensor, got {type(value).__name__}.")


def check_shape(op: str, name: str, tensor: Tensor, expected: tuple[int | None, ...], letters: str) -> None:
    """``tensor`` must have the sizes ``expected`` (None: any), which the legend writes as ``letters``."""
    check_tensor(op, name, tensor)
    shape = tuple(tensor.shape)
    if len(shape) == len(expected) and all(e is None or e == s for e, s in zip(expected, shape)):
        return
    wanted = ", ".join("any" if size is None else str(size) for size in expected)
    hint = ""
    if len(shape) == len(expected) == 2 and shape == tuple(reversed(expected)):
        hint = ". The two sizes look swapped"
    raise ShapeError(f"{op}: `{name}` must be {letters} = ({wanted}), got {shape}{hint}.")


def check_floating(op: str, **tensors: Tensor | None) -> None:
    """All tensors must be of one floating dtype and on one device; the first one sets both."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    first_name, first = next(iter(given.items()))
    for name, tensor in given.items():
        if not tensor.is_floating_point():
            raise DtypeError(f"{op}: `{name}` must be a floating dtype, got {tensor.dtype}.")
        if tensor.dtype != first.dtype:
            raise DtypeError(
                f"{op}: `{name}` must have the dtype of `{first_name}`, {first.dtype}, got {tensor.dtype}. "
                "Under torch.autocast mixed dtypes are cast."
            )
        if tensor.device != first.device:
            raise DeviceError(
                f"{op}: `{name}` must be on the device of `{first_name}`, {first.device}, got {tensor.device}."
            )


def check_floating_or_cast(op: str, **tensors: Tensor | None) -> None:
    """As :func:`check_floating`, but under autocast nothing is asked for: whoever computes casts."""
    device = next(tensor.device.type for tensor in tensors.values() if tensor is not None)
    if device == "meta" or not torch.is_autocast_enabled(device):
        check_floating(op, **tensors)


def checked_mask(
    op: str, word_mask: Tensor | None, batch: int, words: int, device: torch.device
) -> Tensor | None:
    """``word_mask`` as bool, (B, L), True for a real word; None stays None (all words are real)."""
    if word_mask is None:
        return None
    check_tensor(op, "word_mask", word_mask)
    if word_mask.is_floating_point() or word_mask.is_complex():
        raise DtypeError(
            f"{op}: `word_mask` must be bool or integer, True or 1 for a real word, got {word_mask.dtype}. "
            "An additive mask (0 and -inf) is not taken: pass `mask == 0`, or a tokenizer's attention_mask."
        )
    check_shape(op, "word_mask", word_mask, (batch, words), "(B, L)")
    if word_mask.device != device:
        raise DeviceError(f"{op}: `word_mask` must be on {device}, got {word_mask.device}.")
    return word_mask if word_mask.dtype == torch.bool else word_mask != 0


def scaled(op: str, keys: Tensor, scale: float | Tensor) -> tuple[Tensor, float]:
    """Keys, and the number that scores are still to be multiplied by: a tensor multiplies the keys here."""
    if isinstance(scale, Tensor):
        if scale.numel() != 1:
            raise ShapeError(f"{op}: `scale` must be one number, got a tensor of {tuple(scale.shape)}.")
        return keys * scale.reshape(()), 1.0
    # While compiling, a number may be a symbol, which is not to be looked at.
    if not torch.compiler.is_compiling() and not hasattr(scale, "__float__"):
        raise DtypeError(f"{op}: `scale` must be a number or a tensor of one, got {scale!r}.")
    return keys, scale


def autocast_to_float32(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Under autocast, float32 for what is narrower: a loss goes through exponentials of sums, which need it."""
    device = tensors[0].device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return tensors
    return tuple(
        x.to(torch.promote_types(x.dtype, torch.float32)) if x.is_floating_point() else x for x in tensors
    )


def autocast(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast to the autocast dtype where autocast is on; float64 and None pass, as in torch's own ops."""
    device = next(tensor.device.type for tensor in tensors if tensor is not None)
    if device == "meta" or not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        x.to(dtype) if x is not None and x.is_floating_point() and x.dtype != torch.float64 else x
        for x in tensors
    )
