"""Every op again as a plain Python loop over images, pixels and words: slow, and hard to get wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def write(
    words: Tensor,
    summary: Tensor,
    word_weight: Tensor,
    word_bias: Tensor,
    image_weight: Tensor,
    image_bias: Tensor,
    gate_word: Tensor | None = None,
    gate_image: Tensor | None = None,
) -> Tensor:
    batch, length, _ = words.shape
    memory = words.new_zeros(batch, length, word_weight.shape[0])
    for b in range(batch):
        for word in range(length):
            for m in range(memory.shape[2]):
                from_word = max(0.0, float(word_weight[m] @ words[b, word] + word_bias[m]))
                if gate_word is None or gate_image is None:
                    memory[b, word, m] = from_word
                    continue
                row = m if gate_word.shape[0] > 1 else 0
                gate = 1 / (
                    1 + math.exp(-float(gate_word[row] @ words[b, word] + gate_image[row] @ summary[b]))
                )
                from_image = max(0.0, float(image_weight[m] @ summary[b] + image_bias[m]))
                memory[b, word, m] = gate * from_word + (1 - gate) * from_image
    return memory


def project(memory: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, length, _ = memory.shape
    out = memory.new_zeros(batch, length, weight.shape[0])
    for b in range(batch):
        for word in range(length):
            for c in range(out.shape[2]):
                out[b, word, c] = max(0.0, float(weight[c] @ memory[b, word] + bias[c]))
    return out


def read(
    features: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    batch, _, height, width = features.shape
    length = keys.shape[1]
    out = features.new_zeros(batch, values.shape[2], height, width)
    attention = features.new_zeros(batch, length, height, width)
    for b in range(batch):
        real = [word for word in range(length) if mask is None or mask[b, word]]
        for y in range(height):
            for x in range(width):
                scores = [math.exp(scale * float(features[b, :, y, x] @ keys[b, word])) for word in real]
                for word, score in zip(real, scores):
                    attention[b, word, y, x] = score / sum(scores)
                    out[b, :, y, x] += score / sum(scores) * values[b, word]
    return out, attention


def respond(features: Tensor, given: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    out = torch.empty_like(features)
    batch, channels, height, width = features.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                both = torch.cat([features[b, :, y, x], given[b, :, y, x]])
                for c in range(channels):
                    row = c if weight.shape[0] > 1 else 0
                    gate = 1 / (1 + math.exp(-float(weight[row] @ both + bias[row])))
                    out[b, c, y, x] = gate * given[b, c, y, x] + (1 - gate) * features[b, c, y, x]
    return out


def words_similarity(
    regions: Tensor, words: Tensor, lengths: list[int], gamma1: float, gamma2: float
) -> Tensor:
    """R(image, caption), one caption and one image at a time."""
    batch = regions.shape[0]
    rows = []
    for i in range(batch):
        row = []
        for j in range(batch):
            w, v = words[j, : lengths[j]], regions[i].flatten(1)  # (l, E), (E, R)
            attention = (gamma1 * (w @ v).softmax(0)).softmax(1)
            context = attention @ v.T
            cosine = torch.nn.functional.cosine_similarity(context, w, dim=1)
            row.append((gamma2 * cosine).exp().sum().log())
        rows.append(torch.stack(row))
    return torch.stack(rows)
