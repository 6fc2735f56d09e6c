"""What each evaluation network is trained to do, as the ``loss(network, indices, rng)`` of :func:`fitting.fit`.

Axis letters: B batch, A attributes, V values of one attribute.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reference_models.dmgan.evaluation.damage import damage
from reference_models.dmgan.evaluation.features import SceneNet
from reference_models.dmgan.evaluation.images import network_input
from reference_models.dmgan.evaluation.judge import Judge
from reference_models.dmgan.evaluation.pools import Pool
from reference_models.dmgan.evaluation.retrieval import Retrieval

Loss = Callable[[nn.Module, np.ndarray, np.random.Generator], Tensor]


def pixels_of(pool: Pool, indices: np.ndarray) -> Tensor:
    """Images of a pool as the networks take them."""
    return network_input(pool.images[np.sort(indices)]).contiguous(memory_format=torch.channels_last)


def judge_loss(pool: Pool) -> Loss:
    """Cross entropy, mean over attributes; the target of an erased part is the uniform distribution."""

    def loss(network: nn.Module, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
        assert isinstance(network, Judge)
        rows = np.sort(indices)
        pixels = pixels_of(pool, rows)
        if rng.random() < 0.5:
            pixels = pixels.flip(-1)
        truth = torch.from_numpy(pool.attributes[rows])
        erased = torch.from_numpy(pool.erased[rows])
        terms = []
        for index, logits in enumerate(network(pixels)):
            known = erased[:, index].logical_not().float()
            log = logits.float().log_softmax(1)
            right = -log.gather(1, truth[:, index : index + 1])[:, 0]
            terms.append((known * right - (1 - known) * log.mean(1)).mean())
        return torch.stack(terms).mean()

    return loss


def scene_loss(pool: Pool) -> Loss:
    """Squared error of scene and damage, cross entropy of attributes; half of the images are damaged."""

    def loss(network: nn.Module, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
        assert isinstance(network, SceneNet)
        rows = np.sort(indices)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        images, strengths = damage(pixels_of(pool, rows), generator)
        output = network(images.contiguous(memory_format=torch.channels_last))
        scene = F.mse_loss(output.scene.float(), torch.from_numpy(pool.scenes[rows]))
        harm = F.mse_loss(output.damage.float(), strengths)
        truth = torch.from_numpy(pool.attributes[rows])
        attributes = torch.stack(
            [F.cross_entropy(logits.float(), truth[:, i]) for i, logits in enumerate(output.attributes)]
        )
        return 3 * scene + 3 * harm + attributes.mean()

    return loss


def retrieval_loss(pool: Pool, captions: Callable[[np.ndarray, np.random.Generator], tuple]) -> Loss:
    """InfoNCE both ways, and cross entropy of what is seen and said.

    A caption that happens to be true of another image of the batch is no negative there.

    Args:
        pool: the images.
        captions: (attributes (A,), rng) → (text, mentioned (A,) bool).
    """

    def loss(network: nn.Module, indices: np.ndarray, rng: np.random.Generator) -> Tensor:
        assert isinstance(network, Retrieval)
        rows = np.sort(indices)
        pixels = pixels_of(pool, rows)
        if rng.random() < 0.5:
            pixels = pixels.flip(-1)
        attributes = pool.attributes[rows]
        texts, mentioned = zip(*(captions(row, rng) for row in attributes))
        named = np.stack(mentioned)
        false = ((attributes[:, None] != attributes[None]) & named[None]).any(-1)  # (image, caption)
        allowed = torch.from_numpy(false | np.eye(len(rows), dtype=bool))
        output = network(pixels, *network.encode_texts(texts))
        logits = output.similarity.float().masked_fill(~allowed, -torch.inf)
        target = torch.arange(len(rows))
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        truth = torch.from_numpy(attributes)
        nothing = torch.tensor(network.values)
        told = torch.where(torch.from_numpy(named), truth, nothing)
        seen = [F.cross_entropy(part.float(), truth[:, i]) for i, part in enumerate(output.seen)]
        said = [F.cross_entropy(part.float(), told[:, i]) for i, part in enumerate(output.said)]
        # Contrast counts little: its early gradient is noise that keeps the features from forming.
        return 0.1 * contrast + torch.stack(seen).mean() + torch.stack(said).mean()

    return loss
