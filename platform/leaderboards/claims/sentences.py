"""The sentences of textbooks, and which numbers of the boards speak for or against each."""

from dataclasses import dataclass
from typing import Literal

SEEDS = 3  # of an experiment that would tell


@dataclass(frozen=True)
class Part:
    """One comparison of two sides, by one number.

    A side is a family, "latent" or "pixel" diffusion, or "most" or "fewest" steps of one entry.
    The effect is our number minus theirs, or over theirs where `is_ratio`.
    """

    words: str  # what is compared
    ours: str
    theirs: str
    metrics: tuple[str, ...]  # the first that a board ranks by
    less: bool  # whether the sentence says that ours is less
    is_ratio: bool = True
    of: Literal["value", "spread", "failures"] = "value"
    decides: bool = True  # else it can only contradict
    is_of_device: Literal["", "sampling", "training"] = ""  # compared on one device alone


@dataclass(frozen=True)
class Sentence:
    """One sentence; it holds if all its parts that decide do."""

    key: str
    text: str
    parts: tuple[Part, ...]
    about: str  # what is taken for what, in words
    algorithms: tuple[str, ...]  # of an experiment that would tell
    samplers: tuple[str, ...] = ()  # of these, as the form's address has them


QUALITY = ("fd", "kd")
SENTENCES = (
    Sentence(
        key="better-samples",
        text="Diffusion models give better samples than GANs",
        parts=(
            Part("distance to real images, diffusion over GAN", "diffusion", "gan", QUALITY, True),
        ),
        about="Better: a smaller Fréchet distance (else kernel distance) to real images.",
        algorithms=("diffusion.edm", "gan.r3gan"),
    ),
    Sentence(
        key="more-stable",
        text="Diffusion models train more stably than GANs",
        parts=(
            Part(
                "spread of the distance between seeds, diffusion over GAN",
                *("diffusion", "gan", QUALITY, True),
                of="spread",
            ),
            Part(
                "share of seeds lost, diffusion minus GAN",
                *("diffusion", "gan", QUALITY, True),
                is_ratio=False,
                of="failures",
                decides=False,
            ),
        ),
        about="Stably: seeds differ less, as a share of the distance (a ratio of standard "
        "deviations of logarithms). Lost seeds (failed, or cancelled) can only contradict: "
        "mostly none is lost, which says little.",
        algorithms=("diffusion.edm", "gan.sngan"),
    ),
    Sentence(
        key="covers-more",
        text="Diffusion models cover more than GANs",
        parts=(
            Part(
                "recall, diffusion minus GAN",
                *("diffusion", "gan", ("recall", "coverage"), False),
                is_ratio=False,
            ),
        ),
        about="Covering: recall, the share of real images near generated ones; else coverage.",
        algorithms=("diffusion.edm", "gan.r3gan"),
    ),
    Sentence(
        key="fast-but-blurry",
        text="VAEs are fast but blurry",
        parts=(
            Part(
                "images per second on one device, VAE over diffusion",
                *("vae", "diffusion", ("images_per_second",), False),
                is_of_device="sampling",
            ),
            Part(
                "precision, VAE minus GAN",
                *("vae", "gan", ("precision",), True),
                is_ratio=False,
            ),
        ),
        about="Fast: images drawn per second on the same device. No metric here measures blur. "
        "Precision, the share of generated images near real ones, stands in for it: a blurred "
        "image is far from all sharp ones, but so is one with another fault.",
        algorithms=("vae.conv", "diffusion.ddpm", "gan.sngan"),
    ),
    Sentence(
        key="latent-is-cheaper",
        text="Latent space makes diffusion cheaper",
        parts=(
            Part(
                "images per second on one device, latent over pixels",
                *("latent", "pixel", ("images_per_second",), False),
                is_of_device="sampling",
            ),
            Part(
                "device-seconds of training for as many images, latent over pixels",
                *("latent", "pixel", ("device_seconds",), True),
                is_of_device="training",
            ),
        ),
        about="Cheaper: faster to sample, and faster to train on as many images, the training of "
        "the autoencoder counted.",
        algorithms=("latent.ddpm", "diffusion.ddpm"),
    ),
    Sentence(
        key="more-steps",
        text="More steps, better images",
        parts=(
            Part(
                "distance to real images of one model, most steps over fewest",
                *("most", "fewest", QUALITY, True),
            ),
        ),
        about="One trained model with one sampler at its most and at its fewest steps.",
        algorithms=("diffusion.ddpm",),
        samplers=("ddim steps=5", "ddim steps=50"),
    ),
)
