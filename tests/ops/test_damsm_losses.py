"""The DAMSM losses equal the loop over captions and the release's stored numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import memgan
from tests.ops import loops

GOLDEN = Path(__file__).parents[1] / "vectors" / "damsm_losses.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(GOLDEN) as stored:
        return {name: torch.from_numpy(np.asarray(stored[name])) for name in stored.files}


@pytest.mark.parametrize("classes", [True, False])
def test_losses_and_gradients_equal_the_release_s(golden: dict[str, torch.Tensor], classes: bool) -> None:
    regions, words, code, sentence = (
        golden[name].clone().requires_grad_() for name in ("regions", "words", "image_code", "sentence")
    )
    mask = torch.arange(words.shape[2]) < golden["lengths"][:, None]
    ids = golden["class_ids"] if classes else None
    gammas = {name: float(golden[name]) for name in ("gamma1", "gamma2", "gamma3")}
    word_losses = memgan.words_loss(regions, words.mT, mask, ids, **gammas)
    sentence_losses = memgan.sentence_loss(code, sentence, ids, gamma3=gammas["gamma3"])
    end = "" if classes else "_no_class"
    for name, loss in zip(("w0", "w1", "s0", "s1"), (*word_losses, *sentence_losses)):
        torch.testing.assert_close(loss, golden[name + end], rtol=2e-5, atol=1e-6)
    (sum(word_losses) + sum(sentence_losses)).backward()  # type: ignore[union-attr]
    for name, tensor in (
        ("regions", regions),
        ("words", words),
        ("image_code", code),
        ("sentence", sentence),
    ):
        wanted = golden[f"grad_{name}{end}"]
        assert tensor.grad is not None
        assert (tensor.grad - wanted).abs().max() <= 2e-5 * wanted.abs().max() + 1e-7


@given(seed=st.integers(0, 1000), chunk=st.sampled_from([1, 10_000, 2**26]))
def test_words_loss_equals_the_loop_over_captions(seed: int, chunk: int) -> None:
    made = torch.Generator().manual_seed(seed)
    regions = torch.randn(3, 5, 2, 4, generator=made, dtype=torch.float64)
    words = torch.randn(3, 6, 5, generator=made, dtype=torch.float64)
    lengths = torch.randint(1, 7, (3,), generator=made)
    mask = torch.arange(6) < lengths[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["memgan.ops.words_loss"], "CHUNK_ELEMENTS", chunk)
        got = memgan.words_loss(regions, words, mask, gamma1=4.0, gamma2=5.0, gamma3=10.0)
    similarity = 10 * loops.words_similarity(regions, words, lengths.tolist(), 4.0, 5.0)
    target = torch.arange(3)
    torch.testing.assert_close(got[0], torch.nn.functional.cross_entropy(similarity, target))
    torch.testing.assert_close(got[1], torch.nn.functional.cross_entropy(similarity.T, target))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zero_and_large_vectors_give_finite_losses_and_gradients(dtype: torch.dtype) -> None:
    regions, words = torch.randn(4, 5, 2, 4).to(dtype), torch.randn(4, 3, 5).to(dtype)
    code, sentence = torch.randn(4, 300).to(dtype), torch.randn(4, 300).to(dtype)
    for tensor in (regions, words, code, sentence):
        tensor[1] = 0
    code[2] = sentence[2] = 100  # of a product of norms beyond float16
    leaves = [tensor.requires_grad_() for tensor in (regions, words, code, sentence)]
    losses = (*memgan.words_loss(regions, words, None), *memgan.sentence_loss(code, sentence))
    exact = [tensor.detach().double() for tensor in leaves]
    wanted = (*memgan.words_loss(*exact[:2], None), *memgan.sentence_loss(*exact[2:]))
    for loss, right in zip(losses, wanted, strict=True):
        assert loss.dtype == dtype
        torch.testing.assert_close(loss.double(), right, rtol=20 * torch.finfo(dtype).eps, atol=0)
    for grad in torch.autograd.grad(sum(losses), leaves):  # type: ignore[arg-type]
        assert grad.isfinite().all()


def test_captions_of_the_same_class_are_no_negatives() -> None:
    code = torch.eye(3, dtype=torch.float64)
    sentence = code.clone()
    sentence[1] = code[0]  # caption 1 fits image 0 as well as its own
    apart, _ = memgan.sentence_loss(code, sentence, torch.tensor([0, 1, 2]))
    together, _ = memgan.sentence_loss(code, sentence, torch.tensor([0, 0, 2]))
    assert together < apart


def test_derivatives() -> None:
    regions, words = torch.randn(2, 3, 2, 2, dtype=torch.float64), torch.randn(2, 4, 3, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    inputs = (regions.requires_grad_(), words.requires_grad_())
    assert torch.autograd.gradcheck(lambda r, w: memgan.words_loss(r, w, mask), inputs)
    assert torch.autograd.gradgradcheck(lambda r, w: memgan.words_loss(r, w, mask), inputs)


def test_padding_changes_nothing_and_gets_no_gradient() -> None:
    regions, words = torch.randn(2, 3, 2, 2), torch.randn(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    clean = memgan.words_loss(regions, words, mask)
    words[mask == 0] = float("nan")
    words.requires_grad_()
    loss = memgan.words_loss(regions, words, mask)
    torch.testing.assert_close(loss, clean)
    (grad,) = torch.autograd.grad(sum(loss), words)  # type: ignore[arg-type]
    assert not grad[mask == 0].any()


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((torch.zeros(2, 3, 4), torch.zeros(2, 5, 3), None), memgan.ShapeError, "`regions` must be"),
        ((torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 4), None), memgan.ShapeError, "`words` must be"),
        (
            (torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 3), None, torch.zeros(3)),
            memgan.ShapeError,
            "words_loss: `class_ids` must be",
        ),
        (
            (torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 3), None, torch.zeros(2)),
            memgan.DtypeError,
            "words_loss: `class_ids` must be integers",
        ),
        (
            (torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 3), None, torch.zeros(2, device="meta").int()),
            memgan.DeviceError,
            "words_loss: `class_ids` must be on cpu, got meta",
        ),
    ],
)
def test_a_wrong_argument_is_named(arguments: tuple, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        memgan.words_loss(*arguments)


def test_a_sentence_s_wrong_class_ids_are_named() -> None:
    with pytest.raises(
        memgan.ShapeError, match=r"sentence_loss: `class_ids` must be \(B,\) = \(2\), got \(3,\)"
    ):
        memgan.sentence_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3))


@pytest.mark.parametrize("ids", [None, torch.zeros(3, dtype=torch.int64, device="meta")])
def test_sizes_are_found_on_the_meta_device(ids: torch.Tensor | None) -> None:
    regions, words = torch.zeros(3, 5, 2, 4, device="meta"), torch.zeros(3, 7, 5, device="meta")
    for loss in (*memgan.words_loss(regions, words, None, ids), *memgan.sentence_loss(words[0], words[0])):
        assert loss.device.type == "meta"
        assert loss.shape == ()


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("real", [(2, 0, 4), (0, 3, 1), (0, 0, 0), (0,), ()])
def test_a_caption_without_words_counts_as_one_word_of_zeros(
    real: tuple[int, ...], traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: traced)
    regions = torch.randn(len(real), 5, 2, 4, dtype=torch.float64, requires_grad=True)
    words = torch.randn(len(real), 4, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor(real, dtype=torch.int64)[:, None]
    zeroed = words.masked_fill((lengths == 0)[:, :, None], 0.0)
    found = []
    for these, least in ((words, 0), (zeroed, 1)):
        losses = memgan.words_loss(regions, these, torch.arange(4) < lengths.clamp(min=least))
        found.append([*losses, *torch.autograd.grad(losses[0] + 2 * losses[1], (regions, words))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, equal_nan=not real)
        assert one.isfinite().all() or not real
    assert not found[0][3][lengths[:, 0] == 0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_words_at_all_are_a_finite_loss(dtype: torch.dtype) -> None:
    regions = torch.randn(3, 5, 2, 4, dtype=dtype, requires_grad=True)
    losses = memgan.words_loss(regions, torch.zeros(3, 0, 5, dtype=dtype), None)
    torch.testing.assert_close(torch.stack(losses), torch.full((2,), 3.0, dtype=dtype).log())
    (grad,) = torch.autograd.grad(losses[0] + losses[1], regions)
    assert not grad.any()


@pytest.mark.parametrize("batch", [1, 4, 5, 13])
def test_captions_of_any_order_and_length_keep_their_place(batch: int) -> None:
    made = torch.Generator().manual_seed(batch)
    regions = torch.randn(batch, 5, 2, 4, generator=made, dtype=torch.float64, requires_grad=True)
    words = torch.randn(batch, 9, 5, generator=made, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(batch, 9, generator=made) < 0.5  # real words with gaps between them, too
    mask[:, 3] = True
    grads = []
    for traced in (False, True):  # a trace takes all captions at once
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda traced=traced: traced)
            losses = memgan.words_loss(regions, words, mask)
            grads.append([*losses, *torch.autograd.grad(losses[0] + 2 * losses[1], (regions, words))])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    packed = [own[real] for own, real in zip(words, mask)]
    padded = torch.nn.utils.rnn.pad_sequence(packed, batch_first=True)
    lengths = [len(own) for own in packed]
    want = 10 * loops.words_similarity(regions, padded, lengths, 4.0, 5.0)
    torch.testing.assert_close(grads[0][0], torch.nn.functional.cross_entropy(want, torch.arange(batch)))
