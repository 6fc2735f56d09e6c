"""Released text and image encoders, DM-GAN's and AttnGAN's alike (one layout)."""

from __future__ import annotations

import torch

from reference_models.dmgan.config import TextConfig
from reference_models.dmgan.errors import CheckpointError
from reference_models.dmgan.image_encoder import InceptionImageEncoder
from reference_models.dmgan.released.state import Source, fill, read_state, shape_of
from reference_models.dmgan.text_encoder import TextEncoder

TEXT, IMAGE = "text encoder", "image encoder"
DROPOUT = 0.5  # of the release; a state dict does not hold it
_LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def text_names() -> dict[str, str]:
    """Released key → ours: one bi-directional LSTM is two one-way LSTMs here."""
    table = {"encoder.weight": "embedding.weight"}
    table |= {f"rnn.{entry}": f"rightward.{entry}" for entry in _LSTM}
    return table | {f"rnn.{entry}_reverse": f"leftward.{entry}" for entry in _LSTM}


def load_text_encoder(source: Source) -> TextEncoder:
    """A released ``text_encoderN.pth`` (a path or its state dict) as a :class:`TextEncoder` in eval mode.

    Vocabulary, embedding and word widths are inferred.
    """
    state = read_state(source, TEXT)
    vocabulary, embedding_dim = shape_of(state, "encoder.weight", 2, TEXT)
    gates, hidden = shape_of(state, "rnn.weight_hh_l0", 2, TEXT)
    if gates != 4 * hidden:
        raise CheckpointError(
            f"released {TEXT}: 'rnn.weight_hh_l0' must be (4 * hidden, hidden) of an LSTM, "
            f"got ({gates}, {hidden})"
        )
    config = TextConfig(word_dim=2 * hidden, embedding_dim=embedding_dim, dropout=DROPOUT)
    with torch.device("meta"):
        network = TextEncoder(vocabulary, config)
    return fill(network, state, text_names(), TEXT)


def image_names(network: InceptionImageEncoder) -> dict[str, str]:
    """Released key → ours: the trunk has torchvision's names in both."""
    trunk = {key.removeprefix("trunk."): key for key in network.state_dict() if key.startswith("trunk.")}
    return trunk | {
        "emb_features.weight": "regions.weight",
        "emb_cnn_code.weight": "code.weight",
        "emb_cnn_code.bias": "code.bias",
    }


def load_image_encoder(source: Source) -> InceptionImageEncoder:
    """A released ``image_encoderN.pth`` (a path or its state dict) as an image encoder in eval mode.

    The file holds the whole Inception-v3 trunk, whose BatchNorm statistics have drifted from the published
    ones (the release trains them by accident); they are kept as they are.
    """
    state = read_state(source, IMAGE)
    word_dim, *_ = shape_of(state, "emb_features.weight", 4, IMAGE)
    with torch.device("meta"):
        network = InceptionImageEncoder(word_dim)
    return fill(network, state, image_names(network), IMAGE)
