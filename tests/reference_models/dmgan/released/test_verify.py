"""Every stored output of the released code, through the loaders; and the check itself can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.released.verify import FILES, verify

VECTORS = Path(__file__).parents[3] / "vectors"
# How many arrays of each file are compared (a quantity that is silently skipped would not be noticed).
COMPARED = {
    "damsm_losses": 17,
    "discriminators": 15,
    "generator": 14,
    "image_encoder": 2,
    "refinement_stage": 19,
    "text_encoder": 4,
}


@pytest.mark.parametrize("file", FILES)
def test_equal_to_the_release(file: str) -> None:
    checks = verify(VECTORS, (file,))
    assert len(checks) == COMPARED[file]
    assert [check for check in checks if not check.passed] == []


@pytest.mark.parametrize(
    ("file", "array", "quantity"),
    [
        ("generator", "image2_stride4", "image2[0]"),
        ("refinement_stage", "grad/A.weight", "grad/A.weight"),
        ("refinement_stage", "attention_official_batched", "attention_official_batched"),
        ("text_encoder", "sentence", "sentence"),
    ],
)
def test_another_number_is_noticed(tmp_path: Path, file: str, array: str, quantity: str) -> None:
    with np.load(VECTORS / f"{file}.npz") as stored:
        data = dict(stored)
    data[array] = data[array].copy()
    data[array].flat[0] += 1e-3 * np.abs(data[array]).max()
    np.savez(tmp_path / f"{file}.npz", **data)
    failed = [check.name for check in verify(tmp_path, (file,)) if not check.passed]
    assert f"{file}: {quantity}" in failed


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"generator\.npz"):
        verify(tmp_path, ("generator",))
