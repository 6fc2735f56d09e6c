"""An exported model draws what the eager one draws, and needs nothing of ours."""

from __future__ import annotations

from pathlib import Path

import torch

from reference_models.dmgan.data.birds.captions import LONGEST
from reference_models.dmgan.data.birds.dataset import Birds
from reference_models.dmgan.data.vocabulary import tokenize
from reference_models.dmgan.exporting import Drawing, caption_width, export_model, save_program
from reference_models.dmgan.sampling import load_model


def test_a_stored_program_draws_the_same_images_for_another_batch(model_folder: Path, tmp_path: Path) -> None:
    model = load_model(model_folder)
    save_program(export_model(model), tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    assert not any("memgan" in str(node.target) for node in program.graph.nodes)
    longest, settings = caption_width(model.config), model.config.generator
    assert longest == LONGEST > model.config.data.max_words, "captions of birds are not cut"
    lengths = torch.tensor([4, longest, 1, 9, 6])
    captions = torch.randint(1, len(model.vocabulary), (5, longest))
    captions = captions * (torch.arange(longest) < lengths[:, None])
    inputs = captions, lengths, torch.randn(5, settings.noise_dim + settings.condition_dim)
    with torch.inference_mode():
        expected, got = Drawing(model)(*inputs), program.module()(*inputs)
    assert len(got) == len(settings.sizes)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert (got[-1][0] - got[-1][1]).abs().max() > 1e-2  # pictures that differ, not grey ones that all agree


def test_no_caption_of_the_birds_is_longer() -> None:
    birds = Birds("test", images=300, cached=False)
    words = [len(tokenize(said.text)) for index in range(300) for said in birds.captions(index)]
    assert LONGEST - 2 < max(words) <= LONGEST
    longest = (
        "a small picture of a bird with a red crown, a red tail, a red wing, a red beak and also a red back"
    )
    assert len(tokenize(longest)) == LONGEST
