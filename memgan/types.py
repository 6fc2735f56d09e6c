"""The axis legend: one letter means one thing in every docstring, comment and kernel.

====== =====================================================
B      images of a batch
C      channels of the image features
D      channels of the values that are read (C, for a gate)
E      width of a word embedding
L      words of a caption, padding included
M      width of a memory slot
H, W   height and width of the image features; N = H * W
====== =====================================================
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

BackendName: TypeAlias = Literal["auto", "reference", "native"]
MaskMode: TypeAlias = Literal["aligned", "release"]
ReadAndAttention: TypeAlias = tuple[Tensor, Tensor | None]
