"""The process viewers: what each shows, and which trainings have it. No torch is needed for it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

from experiments import asked
from experiments.models import Entry, Run

NOISING, REVERSE, SAMPLERS = "noising", "reverse", "samplers"
BETWEEN, RECONSTRUCTION, VERDICT = "interpolation", "reconstruction", "verdict"
LEARNING = "learning"


@dataclass(frozen=True)
class Viewer:
    """One way to look into a trained model."""

    key: str
    title: str
    about: str  # what one sees, in a sentence or two
    offers: Callable[[Entry], bool]  # whether trainings of an entry have it
    first: Literal["image", "seed"]  # what its first picture is of: the test split, or a seed
    walks: bool = False  # it is drawn with one of the entry's samplers
    told: bool = False  # it can be told a class or a prompt
    most: int | None = None  # the highest first seed, where not all can be had


def _denoises(entry: Entry) -> bool:
    return entry.family == "diffusion"


def _has_steps(entry: Entry) -> bool:
    spec = entry.spec
    samplers = () if spec is None else spec.samplers.values()
    return any("steps" in {field.name for field in fields(each)} for each in samplers)


def _encodes(entry: Entry) -> bool:
    return entry.family == "vae" or entry.has_autoencoder


VIEWERS = {
    viewer.key: viewer
    for viewer in (
        Viewer(
            NOISING,
            "Forward: an image becomes noise",
            "The process that a diffusion model learns to undo. ᾱ is the image's part of the "
            "variance, SNR what is left of it against the noise.",
            _denoises,
            first="image",
        ),
        Viewer(
            REVERSE,
            "Backward: noise becomes an image",
            "What the sampler holds before each step, xₜ, and the clean image that the model "
            "expects of it, x̂₀.",
            _denoises,
            first="seed",
            walks=True,
            told=True,
        ),
        Viewer(
            SAMPLERS,
            "One seed, several samplers",
            "The same noise through each sampler of the algorithm, with ever more steps. NFE is "
            "how often the network was asked.",
            _has_steps,
            first="seed",
            told=True,
        ),
        Viewer(
            BETWEEN,
            "From seed to seed",
            "Images on the great circle between the noise of two seeds (slerp): near noise should "
            "mean near images, without a jump.",
            lambda _: True,
            first="seed",
            walks=True,
            told=True,
        ),
        Viewer(
            RECONSTRUCTION,
            "What encoding loses",
            "Images of the test split, encoded and decoded again. What is lost here no sample can "
            "have.",
            _encodes,
            first="image",
        ),
        Viewer(
            VERDICT,
            "The discriminator's verdict",
            "Drawn and real images in the order of what the discriminator says of them: the higher "
            "its logit, the more real.",
            lambda entry: entry.family == "gan",
            first="seed",
        ),
        Viewer(
            LEARNING,
            "How it learned",
            "The same seeds after ever more images of training. Of a GAN with what its "
            "discriminator said of each at that time, and how often drawn images passed for more "
            "real than real ones.",
            lambda _: True,
            first="seed",
            most=34,  # of the 40 that previews have, 6 are shown
        ),
    )
}


def choices() -> Iterable[tuple[str, str]]:
    """Return the kinds of viewings as a model's field wants them."""
    return [(viewer.key, viewer.title) for viewer in VIEWERS.values()]


def offered(entry: Entry) -> list[Viewer]:
    """Return the viewers that trainings of an entry have; none where its package is not installed."""
    if entry.spec is None:
        return []
    return [viewer for viewer in VIEWERS.values() if viewer.offers(entry)]


def samplers_of(entry: Entry) -> Iterator[dict[str, object]]:
    """Yield the entry's samplers, those first that show most of the model: guided ones heed words."""
    unguided = [each for each in entry.samplers if each.get("guidance") == 0]
    yield from (each for each in entry.samplers if each not in unguided)
    yield from unguided


def is_told(run: Run) -> Literal["", "class", "words"]:
    """Return what images of a run can be asked for by, "" where it is told nothing."""
    if not run.entry.config.get("conditional", True):
        return ""
    dataset = run.entry.experiment.dataset
    if asked.learns_words(dataset):
        return "words"
    return "class" if dataset.num_classes else ""
