"""First derivatives in plain PyTorch: what the backward kernels compute.

Axis letters: B images, C channels, D channels of the values, E word features, M memory channels, L words,
N = H * W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from memgan.backends.reference.memory_read import attend


def masked(tensor: Tensor, mask: Tensor | None) -> Tensor:
    """``tensor`` (B, L, ...) with zeros where ``mask`` (B, L) is False."""
    return tensor if mask is None else tensor.masked_fill(~mask[:, :, None], 0.0)


def softmax_backward(attention: Tensor, grad: Tensor) -> Tensor:
    """``grad`` of the attention → that of the scores. The derivative is symmetric: changes of scores → of attention."""
    return attention * (grad - (attention * grad).sum(1, keepdim=True))


def read_backward(
    grad_read: Tensor,  # (B, D, H, W)
    grad_attention: Tensor | None,  # (B, L, H, W)
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, D)
    word_mask: Tensor | None,  # (B, L) bool
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of features, keys and values."""
    k, v, r = masked(keys, word_mask), masked(values, word_mask), image_features.flatten(2)
    attention = attend(torch.bmm(k, r) * scale, None if word_mask is None else word_mask[:, :, None]).to(
        r.dtype
    )
    given = grad_read.flatten(2)
    of_attention = torch.bmm(v, given)
    if grad_attention is not None:
        of_attention = of_attention + grad_attention.flatten(2)
    scores = softmax_backward(attention, of_attention) * scale
    of_values = torch.bmm(attention, given.transpose(1, 2))
    of_keys = torch.bmm(scores, r.transpose(1, 2))
    of_features = torch.bmm(k.transpose(1, 2), scores).view_as(image_features)
    return of_features, of_keys, of_values


def refine_backward(
    grad_features: Tensor,  # (B, C, H, W)
    grad_attention: Tensor | None,  # (B, L, H, W)
    image_features: Tensor,  # (B, C, H, W)
    keys: Tensor,  # (B, L, C)
    values: Tensor,  # (B, L, C)
    word_mask: Tensor | None,  # (B, L) bool
    gate_weight: Tensor,  # (1, 2C)
    gate_bias: Tensor,  # (1,)
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of features, keys, values, gate weight and gate bias.

    What was read enters only through its products with G and with the gate's weight, and both are sums over words.
    """
    channels = image_features.shape[1]
    k, v, r = masked(keys, word_mask), masked(values, word_mask), image_features.flatten(2)
    by_image, by_read = gate_weight[0, :channels], gate_weight[0, channels:]
    attention = attend(torch.bmm(k, r) * scale, None if word_mask is None else word_mask[:, :, None]).to(
        r.dtype
    )
    given = grad_features.flatten(2)
    value_gate = v @ by_read  # (B, L)
    products = torch.bmm(v, given)  # (B, L, N): G . v
    logit = (
        torch.einsum("bcn,c->bn", r, by_image) + torch.einsum("bln,bl->bn", attention, value_gate) + gate_bias
    )
    gate = torch.sigmoid(logit)[:, None]
    of_logit = (
        ((attention * products).sum(1, keepdim=True) - (given * r).sum(1, keepdim=True)) * gate * (1 - gate)
    )
    of_attention = gate * products + of_logit * value_gate[:, :, None]
    if grad_attention is not None:
        of_attention = of_attention + grad_attention.flatten(2)
    scores = softmax_backward(attention, of_attention) * scale
    read_sum = (attention * of_logit).sum(2)  # (B, L)
    of_features = (1 - gate) * given + of_logit * by_image[:, None] + torch.bmm(k.transpose(1, 2), scores)
    of_keys = torch.bmm(scores, r.transpose(1, 2))
    of_values = torch.bmm(attention * gate, given.transpose(1, 2)) + read_sum[:, :, None] * by_read
    of_by_image = torch.einsum("bcn,bn->c", r, of_logit[:, 0])
    of_by_read = torch.einsum("blc,bl->c", v, read_sum)
    of_weight = torch.cat([of_by_image, of_by_read])[None]
    return of_features.view_as(image_features), of_keys, of_values, of_weight, of_logit.sum().reshape(1)


def write_backward(
    grad_memory: Tensor,  # (B, L, M)
    words: Tensor,  # (B, L, E)
    image_summary: Tensor,  # (B, C)
    word_weight: Tensor,  # (M, E)
    word_bias: Tensor,  # (M,)
    image_weight: Tensor,  # (M, C)
    image_bias: Tensor,  # (M,)
    gate_word: Tensor,  # (1, E)
    gate_image: Tensor,  # (1, C)
    word_mask: Tensor | None,  # (B, L) bool
) -> tuple[Tensor, ...]:
    """Gradients of the eight arguments between ``grad_memory`` and the mask, in order."""
    words = masked(words, word_mask)
    from_words = linear(words, word_weight, word_bias)
    from_image = linear(image_summary, image_weight, image_bias)
    logit = linear(words, gate_word) + linear(image_summary, gate_image)[:, None]
    gate = torch.sigmoid(logit)  # (B, L, 1)
    difference = torch.relu(from_words) - torch.relu(from_image)[:, None]
    of_logit = (grad_memory * difference).sum(2, keepdim=True) * gate * (1 - gate)
    of_words = torch.where(from_words <= 0, 0.0, grad_memory * gate)  # (B, L, M)
    of_image = torch.where(from_image <= 0, 0.0, (grad_memory * (1 - gate)).sum(1))  # (B, M)
    rows, of_rows = words.flatten(0, 1), of_words.flatten(0, 1)
    of_image_logit = of_logit.sum(1)  # (B, 1)
    return (
        masked(of_words @ word_weight + of_logit * gate_word[0], word_mask),
        of_image @ image_weight + of_image_logit * gate_image[0],
        of_rows.T @ rows,
        of_rows.sum(0),
        of_image.T @ image_summary,
        of_image.sum(0),
        of_logit.flatten(0, 1).T @ rows,
        of_image_logit.T @ image_summary,
    )


def project_backward(
    grad_keys: Tensor,  # (B, L, C)
    grad_values: Tensor,  # (B, L, D)
    memory: Tensor,  # (B, L, M)
    key_weight: Tensor,  # (C, M)
    value_weight: Tensor,  # (D, M)
    keys: Tensor,  # (B, L, C): results of the forward
    values: Tensor,  # (B, L, D)
) -> tuple[Tensor, ...]:
    """Gradients of the memory, of weight and bias of the keys, and of the values."""
    of_keys, of_values = torch.where(keys <= 0, 0.0, grad_keys), torch.where(values <= 0, 0.0, grad_values)
    rows, key_rows, value_rows = (x.flatten(0, 1) for x in (memory, of_keys, of_values))
    return (
        of_keys @ key_weight + of_values @ value_weight,
        key_rows.T @ rows,
        key_rows.sum(0),
        value_rows.T @ rows,
        value_rows.sum(0),
    )


def norm_glu_backward(
    grad: Tensor,  # (B, C, H, W)
    x: Tensor,  # (B, 2C, H, W)
    weight: Tensor,  # (2C,)
    bias: Tensor,  # (2C,)
    mean: Tensor,  # (2C,), of x
    var: Tensor,  # (2C,), of x
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias; mean and variance are taken from x again, as its functions."""
    dims, wide = (0, 2, 3), x.to(weight.dtype)
    own_var, own_mean = torch.var_mean(wide, dims, correction=0, keepdim=True)
    deviation = (own_var + eps).sqrt()
    normed = (wide - own_mean) / deviation
    y, z = (normed * weight[:, None, None] + bias[:, None, None]).chunk(2, dim=1)
    gate, given = torch.sigmoid(z), grad.to(weight.dtype)
    slopes = torch.cat([given * gate, given * y * gate * (1 - gate)], dim=1)
    centred = slopes - slopes.mean(dims, keepdim=True) - normed * (slopes * normed).mean(dims, keepdim=True)
    of_x = centred * weight[:, None, None] / deviation
    return of_x.to(x.dtype), (slopes * normed).sum(dims), slopes.sum(dims)
