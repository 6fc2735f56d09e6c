"""The reference model's errors: what a user can mend, said in one sentence.

::

    DmganError(ValueError)
    ├── ConfigError       a configuration that cannot be run, or that differs from a checkpoint's
    ├── DataError         a data set, caption or image that is missing, damaged or of another layout
    ├── CheckpointError   a checkpoint that is damaged, truncated or of another network
    └── TrainingStopped   a run that was stopped because going on would waste it (NaN, collapse)
"""

from __future__ import annotations


class DmganError(ValueError):
    """Base of every error that the reference model raises for its user."""


class ConfigError(DmganError):
    """A configuration that cannot be run, or that differs from a checkpoint's."""


class DataError(DmganError):
    """A data set, caption or image that is missing, damaged or of another layout."""


class CheckpointError(DmganError):
    """A checkpoint that is damaged, truncated or of another network."""


class TrainingStopped(DmganError):
    """A run that was stopped because going on would waste it."""
