"""The definition of every op, in plain PyTorch: any device, any floating dtype, every derivative.

Arguments arrive checked: masks are bool or None, sizes agree.
"""

from memgan.backends.reference.memory_project import memory_project
from memgan.backends.reference.memory_read import memory_read
from memgan.backends.reference.memory_refine import memory_refine
from memgan.backends.reference.memory_respond import memory_respond
from memgan.backends.reference.memory_write import memory_write
from memgan.backends.reference.norm_glu import norm_glu
from memgan.backends.reference.upsample_conv import upsample_conv

__all__ = [
    "memory_project",
    "memory_read",
    "memory_refine",
    "memory_respond",
    "memory_write",
    "norm_glu",
    "upsample_conv",
]
