"""Modules: they own parameters and call ops. No kernels, no device tests."""

from memgan.layers.attention import WordAttention
from memgan.layers.blocks import GLU, ResidualBlock, UpsampleBlock
from memgan.layers.conditioning import ConditioningAugmentation
from memgan.layers.folding import fold_batchnorm
from memgan.layers.memory import DynamicMemory, MemoryInspection
from memgan.layers.memory_parts import MemoryReader, MemoryWriter, ResponseGate
from memgan.layers.stages import InitialStage, RefinementStage

__all__ = [
    "GLU",
    "ConditioningAugmentation",
    "DynamicMemory",
    "InitialStage",
    "MemoryInspection",
    "MemoryReader",
    "MemoryWriter",
    "RefinementStage",
    "ResidualBlock",
    "ResponseGate",
    "UpsampleBlock",
    "WordAttention",
    "fold_batchnorm",
]
