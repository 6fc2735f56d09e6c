"""Memory writing (DM-GAN, section 3.1): words into slots, through a gate that looks at the image."""

from __future__ import annotations

from torch import Tensor

from memgan.backends import dispatch
from memgan.errors import ShapeError
from memgan.ops._checks import autocast, check_floating, check_shape, checked_mask


def memory_write(
    words: Tensor,
    image_summary: Tensor,
    word_weight: Tensor,
    word_bias: Tensor,
    image_weight: Tensor,
    image_bias: Tensor,
    gate_word: Tensor | None = None,
    gate_image: Tensor | None = None,
    word_mask: Tensor | None = None,
) -> Tensor:
    r"""Write words into memory slots, each gated by how it fits the image.

    .. math:: g_l = \sigma(A w_l + B \bar r), \qquad m_l = g_l \, [M_w w_l]_+ + (1 - g_l) \, [M_r \bar r]_+

    Args:
        words: word features, ``(B, L, E)``, floating point.
        image_summary: the mean image feature :math:`\bar r`, ``(B, C)``.
        word_weight, word_bias: :math:`M_w`, ``(M, E)`` and ``(M,)``.
        image_weight, image_bias: :math:`M_r`, ``(M, C)`` and ``(M,)``.
        gate_word, gate_image: :math:`A` and :math:`B`, ``(1, E)`` and ``(1, C)``: one gate a word; or
            ``(M, E)`` and ``(M, C)``: one a word and memory channel. Both None: ungated,
            :math:`m_l = [M_w w_l]_+`.
        word_mask: ``(B, L)``, bool or integer, **True or 1 for a real word**; None: all words are real. A word
            in padding counts as zeros, whatever stands there, a NaN too, and its gradient is 0; its slot is
            written all the same.

    Returns:
        The memory, ``(B, L, M)``.

    Raises:
        ShapeError, DtypeError, DeviceError: the message names the argument.
        BackendUnavailable: a backend was forced and cannot run this input.

    Source: equations 2 and 3 of the paper; the ReLUs are the release's. First and second derivatives for
    every floating argument.

    >>> import torch
    >>> memory_write(torch.ones(2, 7, 5), torch.ones(2, 3), torch.ones(6, 5), torch.zeros(6),
    ...              torch.ones(6, 3), torch.zeros(6), torch.zeros(1, 5), torch.zeros(1, 3))[0, 0, 0]
    tensor(4.)
    """
    op = "memory_write"
    check_shape(op, "words", words, (None, None, None), "(B, L, E)")
    batch, length, word_dim = words.shape
    check_shape(op, "image_summary", image_summary, (batch, None), "(B, C)")
    channels = image_summary.shape[1]
    check_shape(op, "word_weight", word_weight, (None, word_dim), "(M, E)")
    memory_dim = word_weight.shape[0]
    check_shape(op, "word_bias", word_bias, (memory_dim,), "(M,)")
    check_shape(op, "image_weight", image_weight, (memory_dim, channels), "(M, C)")
    check_shape(op, "image_bias", image_bias, (memory_dim,), "(M,)")
    if (gate_word is None) != (gate_image is None):
        missing = "gate_word" if gate_word is None else "gate_image"
        raise ShapeError(f"{op}: `gate_word` and `gate_image` go together, but `{missing}` is None.")
    if gate_word is not None and gate_image is not None:
        gates = gate_word.shape[0] if gate_word.ndim == 2 and gate_word.shape[0] == memory_dim else 1
        check_shape(op, "gate_word", gate_word, (gates, word_dim), "(1, E) or (M, E)")
        check_shape(op, "gate_image", gate_image, (gates, channels), "(1, C) or (M, C)")
    mask = checked_mask(op, word_mask, batch, length, words.device)
    cast = autocast(
        words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image
    )
    names = ("words", "image_summary", "word_weight", "word_bias", "image_weight", "image_bias")
    check_floating(op, **dict(zip((*names, "gate_word", "gate_image"), cast)))
    result: Tensor = dispatch.call(op, *cast, mask)
    return result
