"""Key addressing and value reading: every pixel attends to the slots of its own image."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor


def attend(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over words (dim 1) of ``scores`` (B, L, N); ``mask`` broadcasts, True for a real word.

    Padding gets the lowest finite number, not -inf: a pixel without any real word would give NaN, here and
    in both derivatives. What the softmax leaves on padding in that one case is then set to exactly zero.
    """
    precise = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return torch.softmax(precise, dim=1)
    lowest = torch.finfo(precise.dtype).min
    return torch.softmax(precise.masked_fill(~mask, lowest), dim=1).masked_fill(~mask, 0.0)


def memory_read(
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, D)
    word_mask: Tensor | None = None,  # (B, L) bool
    *,
    scale: float = 1.0,
    return_attention: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """``a[p, l] = softmax over real l of scale (r_p . k_l)``, ``o_p = sum_l a[p, l] v_l``."""
    if word_mask is not None:
        # Zeros first: whatever stands in padding, a NaN too, then changes neither result nor gradient.
        keys = keys.masked_fill(~word_mask[:, :, None], 0.0)
        values = values.masked_fill(~word_mask[:, :, None], 0.0)
        word_mask = word_mask[:, :, None]
    return read_pixels(image_features, keys, values, word_mask, scale, return_attention)


def read_pixels(
    image_features: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,  # broadcasts to (B, L, N)
    scale: float,
    return_attention: bool,
) -> tuple[Tensor, Tensor | None]:
    """The read itself, for any mask: one per image, or (the release's rows) one per pixel."""
    height, width = image_features.shape[2:]
    pixels = rearrange(image_features, "b c h w -> b c (h w)")
    scores = torch.bmm(keys, pixels)
    attention = attend(scores if scale == 1.0 else scores * scale, mask).to(scores.dtype)
    if _channels_last(image_features):  # the result as the input lies: no copy before or after
        read = torch.bmm(attention.transpose(1, 2), values).transpose(1, 2)
    else:
        read = torch.bmm(values.transpose(1, 2), attention)
    read = read.unflatten(2, (height, width))
    if not return_attention:
        return read, None
    return read, attention.reshape(attention.shape[0], attention.shape[1], height, width)


def _channels_last(features: Tensor) -> bool:
    # By strides: under vmap a tensor cannot be asked for any other memory format than the default.
    return features.shape[1] > 1 and features.stride(1) == 1 and not features.is_contiguous()


def release_rows(word_mask: Tensor, pixels: int) -> Tensor:
    """The mask that the DM-GAN release applies: (B, L) → (B, L, N).

    It tiles the mask, so row r of the batch-major (B * N, L) matrix takes the mask of image ``r % B``: most
    pixels use another caption's mask. Kept only to reproduce the released weights' batch outputs.
    """
    batch = word_mask.shape[0]
    rows = torch.arange(batch * pixels, device=word_mask.device) % max(batch, 1)
    return rearrange(word_mask[rows], "(b n) l -> b l n", b=batch, n=pixels)
