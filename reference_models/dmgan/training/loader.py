"""Batches in an order that depends on (seed, position) alone, so that a run resumes in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from reference_models.dmgan.data.batch import Batch, CaptionedImages, Item, collate
from reference_models.dmgan.errors import DataError
from reference_models.dmgan.training.faults import outlive_signals


class Stream(Dataset[Item]):
    """An endless shuffled stream: position → item, the same every time it is asked for."""

    def __init__(self, images: CaptionedImages, seed: int) -> None:
        self.images, self.seed = images, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, position: int) -> Item:
        epoch, place = divmod(position, len(self.images))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            self._epoch = epoch
        index = int(self._order[place])
        return self.images.item(index, np.random.default_rng([self.seed, epoch, index]), train=True)


def batches(
    images: CaptionedImages,
    *,
    sizes: Sequence[int],
    batch_size: int,
    seed: int,
    start: int = 0,
    steps: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Batches of steps ``start`` to ``steps - 1``.

    Args:
        images: the data set.
        sizes: pixels of each image of the pyramid, lowest first.
        batch_size: over all ranks; each rank gets ``batch_size / world`` of it.
        seed: of the order, the captions and the crops.
        start: the first step, so that a resumed run goes on with the next image.
        steps: where to stop.
        rank, world: this process and how many there are.
        workers: processes that prepare batches ahead; 0: in this process.
        pin_memory: page-locked batches, for a GPU.

    Raises:
        DataError: at once, where the batch does not divide among the ranks or is larger than the data set.
    """
    if batch_size % world:
        raise DataError(f"`train.batch_size` must be a multiple of {world} processes, got {batch_size}")
    if len(images) < batch_size:
        raise DataError(f"the data set has {len(images)} images, fewer than one batch of {batch_size}")
    if workers < 0:
        raise DataError(f"`data.workers` must be at least 0, got {workers}")
    share = batch_size // world
    positions = [
        range(step * batch_size + rank * share, step * batch_size + (rank + 1) * share)
        for step in range(start, steps)
    ]
    loader = DataLoader(
        Stream(images, seed),
        batch_sampler=positions,  # type: ignore[arg-type]
        collate_fn=partial(collate, sizes=tuple(sizes)),
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers else None,
        worker_init_fn=outlive_signals if workers else None,
        # Of its own: a loader draws its workers' seed when it starts, and a resumed run starts one more often.
        generator=torch.Generator().manual_seed(seed),
    )
    return iter(_each(loader))


def _each(loader: DataLoader) -> Iterator[Batch]:
    yield from loader  # workers start with the first batch, not when the run is put together
