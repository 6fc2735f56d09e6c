"""The generator as its equations are usually written: plain PyTorch, eager, one operation after the other.

What everything here is measured against and must equal. It reads the parameters of our own modules, so both forms
share one set of weights. Up-sampling makes the large image, the response is concatenated with itself, pixels attend
through transposed copies, masks are tiled over pixels.

Axis letters: B batch, C image channels, E word width, M memory width, L words, N = H*W pixels, Z noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from memgan import DynamicMemory, InitialStage, RefinementStage, ResidualBlock, UpsampleBlock
from reference_models.dmgan.generator import Generator, GeneratorOutput


def glu(x: Tensor) -> Tensor:
    """(B, 2C, ...) → (B, C, ...)."""
    half = x.shape[1] // 2
    return x[:, :half] * torch.sigmoid(x[:, half:])


def upsample(block: UpsampleBlock, x: Tensor) -> Tensor:
    """(B, in, H, W) → (B, out, 2H, 2W)."""
    return glu(block.norm(block.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))))


def residual(block: ResidualBlock, x: Tensor) -> Tensor:
    """(B, 2C, H, W) → (B, 2C, H, W)."""
    return block.norm2(block.conv2(glu(block.norm1(block.conv1(x))))) + x


def initial(stage: InitialStage, condition: Tensor, noise: Tensor) -> Tensor:
    """(B, c) and (B, Z) → (B, C, size, size)."""
    x = glu(stage.norm(stage.linear(torch.cat([condition, noise], 1)))).view(-1, stage.first_channels, 4, 4)
    for block in stage.upsample:
        x = upsample(block, x)
    return x


def _pointwise(linear: nn.Linear, columns: Tensor) -> Tensor:
    return F.conv1d(columns, linear.weight[:, :, None], linear.bias)  # (B, in, L) → (B, out, L)


def memory(module: DynamicMemory, image: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W), (B, L, E), (B, L) → features (B, C, H, W), attention (B, L, H, W).

    The mask is each image's own (the release's rows mix captions; that defect is not what is measured).
    """
    (batch, channels, height, width), length = image.shape, words.shape[1]
    writer, reader, gate = module.writer, module.reader, module.response.linear
    columns = words.masked_fill(~mask[:, :, None], 0.0).transpose(1, 2)  # (B, E, L)
    summary = image.detach().mean((2, 3))  # (B, C)
    logit = writer.gate_word(columns.transpose(1, 2)).squeeze(2) + writer.gate_image(summary)
    write = torch.sigmoid(logit)[:, None]  # (B, 1, L)
    by_image = torch.relu(_pointwise(writer.image, summary[:, :, None])).repeat(1, 1, length)
    slots = torch.relu(_pointwise(writer.word, columns)) * write + by_image * (1 - write)  # (B, M, L)
    keys = torch.relu(_pointwise(reader.key, slots))  # (B, C, L)
    values = torch.relu(_pointwise(reader.value, slots))
    target = image.view(batch, channels, height * width)
    scores = torch.bmm(target.transpose(1, 2).contiguous(), keys) * reader.scale  # (B, N, L)
    tiled = mask[:, None].repeat(1, height * width, 1)
    weights = torch.softmax(scores.masked_fill(~tiled, float("-inf")), 2).transpose(1, 2).contiguous()
    read = torch.bmm(values, weights).view(batch, channels, height, width)
    both = torch.cat([image, read], 1)
    response = torch.sigmoid(F.conv2d(both, gate.weight[:, :, None, None], gate.bias))
    return read * response + image * (1 - response), weights.view(batch, length, height, width)


def refinement(stage: RefinementStage, image: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) → (B, C, 2H, 2W), and the attention."""
    response, attention = memory(stage.memory, image, words, mask)
    x = torch.cat([response, response], 1)
    for block in stage.residual:
        x = residual(block, x)
    return upsample(stage.upsample, x), attention


def generate(
    generator: Generator,
    noise: Tensor,
    sentence: Tensor,
    words: Tensor,
    word_mask: Tensor,
    *,
    condition_noise: Tensor,
) -> GeneratorOutput:
    """The same call and result as the generator's own; attention is always computed."""
    mu, logvar = glu(generator.conditioning.linear(sentence)).chunk(2, 1)
    condition = mu + condition_noise * torch.exp(0.5 * logvar)
    features = initial(generator.initial, condition, noise)
    images, maps = [generator.heads[0](features)], []
    for stage, head in zip(generator.refinements, list(generator.heads)[1:]):
        features, attention = refinement(stage, features, words, word_mask)
        images.append(head(features))
        maps.append(attention)
    return GeneratorOutput(images, maps, mu, logvar)


def words_loss(
    regions: Tensor,
    words: Tensor,
    mask: Tensor,
    class_ids: Tensor | None = None,
    gammas: tuple[float, float, float] = (4.0, 5.0, 10.0),
) -> tuple[Tensor, Tensor]:
    """DAMSM's words loss, one caption after the other against all images; (B, E, h, w), (B, L, E), (B, L)."""
    batch, width = regions.shape[:2]
    context = regions.view(batch, width, -1)  # (B, E, R)
    columns = []
    for own, real in zip(words, mask):
        length = int(real.sum())
        query = own[:length].t()[None].repeat(batch, 1, 1)  # (B, E, T)
        scores = torch.bmm(context.transpose(1, 2).contiguous(), query)  # (B, R, T)
        over_words = torch.softmax(scores.view(-1, length), 1).view(batch, -1, length)
        over_regions = torch.softmax((over_words.transpose(1, 2).contiguous() * gammas[0]), 2)  # (B, T, R)
        weighted = torch.bmm(context, over_regions.transpose(1, 2).contiguous())  # (B, E, T)
        flat_query = query.transpose(1, 2).contiguous().view(-1, width)
        flat_context = weighted.transpose(1, 2).contiguous().view(-1, width)
        dot = (flat_query * flat_context).sum(1)
        norms = (flat_query.norm(dim=1) * flat_context.norm(dim=1)).clamp(min=1e-8)
        row = torch.exp((dot / norms).view(batch, length) * gammas[1]).sum(1, keepdim=True)
        columns.append(torch.log(row))
    return matching(gammas[2] * torch.cat(columns, 1), class_ids)


def sentence_loss(
    code: Tensor, sentence: Tensor, class_ids: Tensor | None = None, gamma3: float = 10.0
) -> tuple[Tensor, Tensor]:
    """DAMSM's sentence loss, (B, E) each."""
    norms = code.norm(dim=1, keepdim=True) @ sentence.norm(dim=1, keepdim=True).t()
    return matching(gamma3 * (code @ sentence.t()) / norms.clamp(min=1e-8), class_ids)


def matching(scores: Tensor, class_ids: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross entropies by rows and columns; captions of an image's own class are masked out."""
    if class_ids is not None:
        same = (class_ids[:, None] == class_ids[None]).fill_diagonal_(False)
        scores = scores.masked_fill(same, float("-inf"))
    target = torch.arange(len(scores), device=scores.device)
    return F.cross_entropy(scores, target), F.cross_entropy(scores.t(), target)
