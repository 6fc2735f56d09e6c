"""What the page shows is what the model drew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reference_models.dmgan.errors import DataError
from reference_models.dmgan.report.explain import explain
from reference_models.dmgan.sampling import load_model


def test_words_drawings_and_readings_of_a_caption(model_folder: Path) -> None:
    model = load_model(model_folder)
    (picture,) = explain(model, ["A red bird, quixotic quixotic tail"], drawings=3)
    assert picture.words == ("a", "red", "bird", "tail")
    assert picture.unknown == ("quixotic",)
    assert [image.shape for image in picture.drawings[0].images] == [(16, 16, 3), (32, 32, 3)]
    assert len(picture.drawings) == 3
    assert not np.array_equal(picture.drawings[0].images[-1], picture.drawings[1].images[-1])
    (reading,) = picture.drawings[2].readings
    assert reading.attention.shape == (4, 16, 16)
    np.testing.assert_allclose(reading.attention.sum(0), 1, atol=1e-5)
    assert reading.write_gate is not None
    assert reading.write_gate.shape == (4,)
    assert reading.response_gate is not None
    assert reading.response_gate.shape == (16, 16)


def test_a_drawing_does_not_depend_on_how_many_there_are(model_folder: Path) -> None:
    model = load_model(model_folder)
    (one,) = explain(model, ["a red tail"], drawings=1)
    (three,) = explain(model, ["a red tail"], drawings=3)
    for first, second in zip(one.drawings[0].images, three.drawings[0].images):
        assert np.abs(first.astype(int) - second).max() <= 1  # rounding of another batch size


@pytest.mark.parametrize("caption", ["", "   ", "xylophone"])
def test_a_caption_without_known_words_is_quoted(model_folder: Path, caption: str) -> None:
    with pytest.raises(DataError, match=f"'{caption}' has no word that the model knows"):
        list(explain(load_model(model_folder), [caption]))
