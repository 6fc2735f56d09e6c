"""What the second derivatives of the ops that attend are gradients of.

A backward gives J'G: the derivatives J of the forward, transposed, times the gradient G of the result. Its own backward
gets U, gradients of what it gave, and has to return the gradient of U . J'G. That number is also G . JU, G times the
change of the result along U, which takes fewer products, and only those of the U that are there: a gradient penalty's
is of the features alone.

Axis letters: B images, C channels, D channels of the values, L words, N = H * W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from memgan.backends.native.formulas import masked, softmax_backward

Grads = Sequence[Tensor | None]


def read_pairing(
    grads: Grads,  # U: of features, keys and values
    grad_read: Tensor,  # (B, D, H, W)
    grad_attention: Tensor | None,  # (B, L, H, W)
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, D)
    word_mask: Tensor | None,  # (B, L) bool
    scale: float,
) -> Tensor:
    """(B, 1, N), the pixels' shares of U times :func:`read_backward`."""
    of_features, of_keys, of_values = _along(grads, word_mask, scale)
    k, v, r = masked(scale * keys, word_mask), masked(values, word_mask), image_features.flatten(2)
    given = grad_read.flatten(2)
    attention = _attention(torch.bmm(k, r), word_mask)
    slopes = _sum(_of(torch.bmm, k, of_features), _of(torch.bmm, of_keys, r))
    of_attention = _of(softmax_backward, attention, slopes)
    change = _sum(
        _of(_over_words, of_attention, torch.bmm(v, given)),
        _of(_over_words, attention, _of(torch.bmm, of_values, given)),
        _of(_over_words, of_attention, _of(_flat, grad_attention)),
    )
    assert change is not None, "nothing is to be derived"
    return change


def refine_pairing(
    grads: Grads,  # U: of features, keys, values, gate weight and gate bias
    grad_features: Tensor,  # (B, C, H, W)
    grad_attention: Tensor | None,  # (B, L, H, W)
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, C)
    word_mask: Tensor | None,  # (B, L) bool
    gate_weight: Tensor,  # (1, 2C)
    gate_bias: Tensor,  # (1,)
    scale: float,
) -> Tensor:
    """(B, 1, N), the pixels' shares of U times :func:`refine_backward`.

    The gate's weight on the image is one more key: its product with the pixels comes with theirs.
    """
    of_features, of_keys, of_values = _along(grads[:3], word_mask, scale)
    of_weight, of_bias = grads[3:]
    channels, words = image_features.shape[1], keys.shape[1]
    k, v, r = masked(scale * keys, word_mask), masked(values, word_mask), image_features.flatten(2)
    given, by_read = grad_features.flatten(2), gate_weight[0, channels:]
    rows, of_rows = _with_gate(k, gate_weight), None
    if of_keys is not None or of_weight is not None:
        of_rows = _with_gate(
            torch.zeros_like(k) if of_keys is None else of_keys,
            torch.zeros_like(gate_weight) if of_weight is None else of_weight,
        )
    scores, by_image = torch.bmm(rows, r).split([words, 1], dim=1)
    attention = _attention(scores, word_mask)
    products, value_gate = torch.bmm(v, given), (v @ by_read)[:, None]
    gate = torch.sigmoid(by_image + torch.bmm(value_gate, attention) + gate_bias)

    # How attention, G times what was read, and the gate's logit change along U.
    slopes = _sum(_of(torch.bmm, rows, of_features), _of(torch.bmm, of_rows, r))
    of_scores, of_image = (None, None) if slopes is None else slopes.split([words, 1], dim=1)
    of_attention = _of(softmax_backward, attention, of_scores)
    of_read = _sum(
        _of(_over_words, of_attention, products),
        _of(_over_words, attention, _of(torch.bmm, of_values, given)),
    )
    of_value_gate = _sum(
        None if of_values is None else of_values @ by_read,
        None if of_weight is None else v @ of_weight[0, channels:],
    )
    of_logit = _sum(
        of_image,
        _of(torch.bmm, value_gate, of_attention),
        None if of_value_gate is None else torch.bmm(of_value_gate[:, None], attention),
        of_bias,
    )
    change = _sum(
        None if of_read is None else gate * of_read,
        None if of_features is None else (1 - gate) * (given * of_features).sum(1, keepdim=True),
        _of(_over_words, of_attention, _of(_flat, grad_attention)),
    )
    if of_logit is not None:
        difference = _over_words(attention, products) - (given * r).sum(1, keepdim=True)
        change = _sum(change, of_logit * gate * (1 - gate) * difference)
    assert change is not None, "nothing is to be derived"
    return change


def _along(
    grads: Grads, mask: Tensor | None, scale: float
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """U of features, keys and values as features, scaled keys and values are: flat, and nothing at padding."""
    of_features, of_keys, of_values = grads
    return (
        _of(_flat, of_features),
        None if of_keys is None else masked(scale * of_keys, mask),
        None if of_values is None else masked(of_values, mask),
    )


def _attention(scores: Tensor, mask: Tensor | None) -> Tensor:
    """As the definition's, but for images without real words: keys and values are zero there, and every product."""
    if mask is not None:
        padding = scores.new_zeros(mask.shape).masked_fill(~mask, torch.finfo(scores.dtype).min)
        scores = scores + padding[:, :, None]
    precise = torch.promote_types(scores.dtype, torch.float32)
    return torch.softmax(scores, dim=1, dtype=precise).to(scores.dtype)


def _with_gate(keys: Tensor, gate_weight: Tensor) -> Tensor:
    """(B, L, C) → (B, L + 1, C)."""
    by_image = gate_weight[:, : keys.shape[2]]
    return torch.cat([keys, by_image.expand(keys.shape[0], 1, -1)], dim=1)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.flatten(2)


def _over_words(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _of(function: Callable[..., Tensor], *arguments: Tensor | None) -> Tensor | None:
    """``function`` of the arguments, where all of them are there."""
    return None if any(argument is None for argument in arguments) else function(*arguments)


def _sum(*terms: Tensor | None) -> Tensor | None:
    """Of the terms that are there."""
    given = [term for term in terms if term is not None]
    return sum(given[1:], given[0]) if given else None
