"""memgan: dynamic memory for GANs.

Words are written into memory slots through a gate that looks at the image, every pixel addresses the slots by key
and reads values, and a response gate decides how much of what was read replaces the pixel's feature
(DM-GAN, Zhu et al., CVPR 2019). :class:`DynamicMemory` is the whole; every part is there as a function and as a
module. Axis letters are explained in :mod:`memgan.types`.
"""

from memgan.backends.dispatch import explain_backends, use_backend
from memgan.errors import BackendUnavailable, DeviceError, DtypeError, MemganError, ShapeError
from memgan.layers import (
    GLU,
    ConditioningAugmentation,
    DynamicMemory,
    InitialStage,
    MemoryInspection,
    MemoryReader,
    MemoryWriter,
    RefinementStage,
    ResidualBlock,
    ResponseGate,
    UpsampleBlock,
    WordAttention,
    fold_batchnorm,
)
from memgan.ops import (
    memory_project,
    memory_read,
    memory_refine,
    memory_respond,
    memory_write,
    sentence_loss,
    upsample_conv,
    words_loss,
)

__version__ = "0.1.0"

__all__ = [
    "GLU",
    "BackendUnavailable",
    "ConditioningAugmentation",
    "DeviceError",
    "DtypeError",
    "DynamicMemory",
    "InitialStage",
    "MemganError",
    "MemoryInspection",
    "MemoryReader",
    "MemoryWriter",
    "RefinementStage",
    "ResidualBlock",
    "ResponseGate",
    "ShapeError",
    "UpsampleBlock",
    "WordAttention",
    "explain_backends",
    "fold_batchnorm",
    "memory_project",
    "memory_read",
    "memory_refine",
    "memory_respond",
    "memory_write",
    "sentence_loss",
    "upsample_conv",
    "use_backend",
    "words_loss",
]
