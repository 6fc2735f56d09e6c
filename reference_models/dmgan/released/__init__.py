"""Released DM-GAN and AttnGAN networks, loaded exactly.

Each loader takes a path or a released-layout state dict (``module.`` prefixes or not), infers every size from
it, checks every key and returns the module in eval mode with the same numbers.
"""

from reference_models.dmgan.released.discriminators import load_discriminator
from reference_models.dmgan.released.encoders import load_image_encoder, load_text_encoder
from reference_models.dmgan.released.generators import load_generator, load_refinement_stage

__all__ = [
    "load_discriminator",
    "load_generator",
    "load_image_encoder",
    "load_refinement_stage",
    "load_text_encoder",
]
