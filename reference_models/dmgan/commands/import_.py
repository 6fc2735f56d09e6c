"""``import``: released DM-GAN or AttnGAN weights to safetensors and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from reference_models.dmgan.released.importing import Imported


@dataclass(frozen=True, kw_only=True)
class Options:
    """Read released checkpoints, infer every size, and write a model's folder; or --verify alone."""

    generator: Path | None = None
    """netG_epoch_N.pth, bird_DMGAN.pth or coco_DMGAN.pth"""
    text_encoder: Path | None = None
    """text_encoderN.pth, of DM-GAN or AttnGAN"""
    image_encoder: Path | None = None
    """image_encoderN.pth, of DM-GAN or AttnGAN"""
    discriminator: tuple[Path, ...] = ()
    """netD0.pth netD1.pth netD2.pth, in any order"""
    vocabulary: Path | None = None
    """the word ids that the encoders were trained with: captions.pickle as released, or a vocabulary.json"""
    out: Path | None = None
    """the folder to make; sample, evaluate and train read it"""
    base: Literal["cub", "coco"] | None = None
    """the configuration that everything but the sizes comes from; default: told from the generator"""
    mask_mode: Literal["aligned", "release"] = "aligned"
    """release: the released mask rows, with which an image depends on its batch"""
    verify: bool = False
    """check these networks against stored outputs of the release, and what was written"""
    vectors: Path | None = None
    """the folder of the stored outputs; default: this checkout's"""


def main(argv: list[str]) -> int:
    """Import, verify, or both; exit status 1 where a verification fails."""
    import tyro

    options = tyro.cli(Options, args=argv, prog="import")
    files = (options.generator, options.text_encoder, options.image_encoder, *options.discriminator)
    if options.verify and options.out is None and not any(files):
        return _verify_vectors(options.vectors)
    made, out = _import(options)
    if not options.verify:
        return 0
    from reference_models.dmgan.released.importing import check_written

    for line in check_written(made, out):
        print(f"ok    {line}")
    return _verify_vectors(options.vectors)


def _import(options: Options) -> tuple[Imported, Path]:
    from reference_models.dmgan.errors import ConfigError
    from reference_models.dmgan.released.importing import read_released, read_vocabulary, write_imported

    if options.out is None:
        raise ConfigError("--out is missing: the folder to make")
    made = read_released(
        generator=options.generator,
        text_encoder=options.text_encoder,
        image_encoder=options.image_encoder,
        discriminators=options.discriminator,
        vocabulary=read_vocabulary(options.vocabulary) if options.vocabulary else None,
        base=options.base,
        mask_mode=options.mask_mode,
    )
    write_imported(made, options.out)
    for path, digest in made.sources.items():
        print(f"read  {path}  sha256 {digest}")
    for name, network in made.networks.items():
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(f"wrote {options.out / name}.safetensors  {parameters / 1e6:.2f} M parameters")
    if made.text_encoder is not None and made.vocabulary is None:
        print("note: without --vocabulary there is no vocabulary.json, and captions cannot be given as text")
    return made, options.out


def _verify_vectors(folder: Path | None) -> int:
    import tempfile

    from reference_models.dmgan.released.verify import FILES, VECTORS, ThroughFiles, verify

    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        for file in FILES:
            checks = verify(folder or VECTORS, (file,), load=ThroughFiles(Path(scratch)))
            worst = max(checks, key=lambda check: check.error / check.tolerance)
            wrong = [check for check in checks if not check.passed]
            failed += len(wrong)
            print(
                f"{'FAIL' if wrong else 'ok':4s}  {file:18s}{len(checks):3d} quantities of the release, largest "
                f"error {worst.error:.1e} ({worst.tolerance:.0e} allowed)"
            )
            for check in wrong:
                print(f"      {check.name}: {check.error:.1e}")
    return 1 if failed else 0
