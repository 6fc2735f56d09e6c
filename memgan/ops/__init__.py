"""Public functions: contract, checks, one call to the dispatcher."""

from memgan.ops.memory_project import memory_project
from memgan.ops.memory_read import memory_read
from memgan.ops.memory_refine import memory_refine
from memgan.ops.memory_respond import memory_respond
from memgan.ops.memory_write import memory_write
from memgan.ops.sentence_loss import sentence_loss
from memgan.ops.upsample_conv import upsample_conv
from memgan.ops.words_loss import words_loss

__all__ = [
    "memory_project",
    "memory_read",
    "memory_refine",
    "memory_respond",
    "memory_write",
    "sentence_loss",
    "upsample_conv",
    "words_loss",
]
