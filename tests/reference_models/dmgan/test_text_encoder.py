"""The text encoder against torch's packed bi-directional LSTM, an independent form of the same numbers."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reference_models.dmgan.config import TextConfig
from reference_models.dmgan.errors import ConfigError, DataError
from reference_models.dmgan.text_encoder import TextEncoder, word_mask

CONFIG = TextConfig(word_dim=10, embedding_dim=7)


def captions() -> tuple[torch.Tensor, torch.Tensor]:
    """Five captions in no order, padded to two words more than the longest."""
    lengths = torch.tensor([3, 6, 1, 5, 6])
    ids = torch.randint(1, 20, (5, 8))
    return ids * word_mask(lengths, 8), lengths


def test_equal_to_the_packed_form_in_any_order() -> None:
    encoder = TextEncoder(20, CONFIG).double().eval()
    packed = nn.LSTM(7, 5, batch_first=True, bidirectional=True).double()
    weights = {f"{key}": value for key, value in encoder.rightward.state_dict().items()}
    weights |= {f"{key}_reverse": value for key, value in encoder.leftward.state_dict().items()}
    packed.load_state_dict(weights)
    ids, lengths = captions()
    states, (hidden, _) = packed(
        pack_padded_sequence(encoder.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
    )
    expected, _ = pad_packed_sequence(states, batch_first=True)
    words, sentence = encoder(ids, lengths)
    assert words.shape == (5, 6, 10)
    torch.testing.assert_close(words, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(sentence, torch.cat([hidden[0], hidden[1]], 1), rtol=0, atol=1e-12)


def test_padding_and_neighbours_change_nothing() -> None:
    encoder = TextEncoder(20, CONFIG).double().eval()
    ids, lengths = captions()
    words, sentence = encoder(ids, lengths)
    noisy = torch.where(word_mask(lengths, 8), ids, torch.randint(0, 20, ids.shape))
    again, sentence_again = encoder(noisy, lengths)
    assert torch.equal(words, again)
    assert torch.equal(sentence, sentence_again)
    alone, sentence_alone = encoder(ids[2:3], lengths[2:3])
    torch.testing.assert_close(alone, words[2:3, :1])
    torch.testing.assert_close(sentence_alone, sentence[2:3])
    assert not words[2, 1:].any()


def test_dropout_works_in_training_only() -> None:
    encoder, (ids, lengths) = TextEncoder(20, CONFIG), captions()
    assert not torch.equal(encoder(ids, lengths)[0], encoder(ids, lengths)[0])
    encoder.eval()
    assert torch.equal(encoder(ids, lengths)[0], encoder(ids, lengths)[0])


def test_exported_encoder_equals_eager() -> None:
    encoder, (ids, lengths) = TextEncoder(20, CONFIG).eval(), captions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export warns of its own internals
        exported = torch.export.export(encoder, (ids, lengths)).module()
    words, sentence = encoder(ids, lengths)
    other = torch.tensor([1, 2, 6, 4, 3])
    got, got_sentence = exported(ids, lengths)
    torch.testing.assert_close(got[:, :6], words, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got_sentence, sentence, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(exported(ids, other)[1], encoder(ids, other)[1], rtol=1e-4, atol=1e-5)


def test_bad_input_is_named() -> None:
    encoder, (ids, lengths) = TextEncoder(20, CONFIG), captions()
    with pytest.raises(DataError, match="1 to 8.*got 0 to 6"):
        encoder(ids, lengths * (lengths != 1))
    with pytest.raises(DataError, match="another vocabulary"):
        encoder(ids + 20, lengths)
    with pytest.raises(DataError, match=r"\(B, T\)"):
        encoder(ids, lengths[:3])
    with pytest.raises(ConfigError, match="even"):
        TextEncoder(20, TextConfig(word_dim=7))
