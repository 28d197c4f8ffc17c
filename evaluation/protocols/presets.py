"""Named ways to score, as people quote them: an extractor, how many images, which metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evaluation.protocols.extractor_specs import (
    CLASSIFIER,
    DINOV2,
    INCEPTION,
    PIXELS,
    RANDOM_CONVOLUTION,
    STACKED,
)
from evaluation.protocols.prompt_specs import OF_PROMPTS
from evaluation.scenes.prompt_set import IMAGES_PER_PROMPT, SCENES

MAX_IMAGES = 10_000  # default size of the compared sets: keeps neighbour searches affordable


@dataclass(frozen=True)
class ProtocolPreset:
    """An extractor, how many generated images are scored, and the metrics.

    The reference is the train split: the test split stays free for the real-vs-real control, which
    would otherwise be compared with itself. ``num_images`` None = as many as the test split has,
    at most ``MAX_IMAGES``; with ``prompts``, ``images_per_prompt`` of each. ``metrics`` None = all that are measured by default on such features.
    """

    extractor: str
    num_images: int | None
    help: str
    metrics: tuple[str, ...] | None = None
    prompts: str = ""  # the name of packaged ones, "" = none
    images_per_prompt: int | None = None


_AS_TEST = "as many images as the test split has, at most 10,000"

PRESETS: Mapping[str, ProtocolPreset] = MappingProxyType(
    {
        "classifier-test": ProtocolPreset(
            CLASSIFIER, None, f"features of a classifier trained on the dataset, {_AS_TEST}"
        ),
        "inception-test": ProtocolPreset(INCEPTION, None, f"Inception features, {_AS_TEST}"),
        "inception-10k-test": ProtocolPreset(
            INCEPTION, 10_000, "Inception features, 10,000 images, as common test splits have"
        ),
        "inception-50k-train": ProtocolPreset(
            INCEPTION,
            50_000,
            "Inception features, 50,000 images against the train split, as papers report; a "
            "smaller test split cannot be scored as its control",
        ),
        "dinov2-50k": ProtocolPreset(DINOV2, 50_000, "DINOv2 ViT-L/14 features, 50,000 images"),
        "dinov2-test": ProtocolPreset(DINOV2, None, f"DINOv2 ViT-L/14 features, {_AS_TEST}"),
        "random-convolution-test": ProtocolPreset(
            RANDOM_CONVOLUTION, None, f"untrained networks made from seeds, {_AS_TEST}"
        ),
        "pixels-test": ProtocolPreset(
            PIXELS,
            None,
            f"pixels on the reference's principal components, {_AS_TEST}",
        ),
        "stacked-modes": ProtocolPreset(
            STACKED,
            None,
            f"modes of a stacked dataset, whose channels are images of one grey dataset, {_AS_TEST}",
            metrics=("modes", "class_kl", "missing_classes", "fd", "recall", "coverage"),
        ),
        "scenes-prompts": ProtocolPreset(
            RANDOM_CONVOLUTION,
            None,
            f"whether images follow the packaged prompts of scenes, {IMAGES_PER_PROMPT} images each, "
            "and untrained networks made from seeds",
            metrics=("fd", "kd", "precision", "recall", *OF_PROMPTS),
            prompts=SCENES,
            images_per_prompt=IMAGES_PER_PROMPT,
        ),
    }
)


def get_preset(name: str) -> ProtocolPreset:
    """Return the preset called ``name``.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        raise ValueError(f"expected a preset of {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
