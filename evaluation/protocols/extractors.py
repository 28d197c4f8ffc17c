"""The feature extractors by name, those of torch-fidelity and of other packages among them.

Another package names an `ExtractorSpec` by an entry point in the group `trilemma.extractors`.
"""

from evaluation.protocols.extractor_specs import (
    BUILT_IN,
    FIDELITY_PREFIX,
    INCEPTION,
    INCEPTION_2015_SHA256,
    ExtractorSpec,
)
from evaluation.protocols.plugins import check_extractor, with_installed

EXTRACTORS, LEFT_OUT = with_installed(BUILT_IN, "trilemma.extractors", check_extractor)


def get_extractor(name: str) -> ExtractorSpec:
    """Return the feature extractor called ``name``; "torch-fidelity/…" names one of its registry.

    Raises:
        ValueError: if there is none; the message lists those that exist.
    """
    if name.startswith(FIDELITY_PREFIX) and name != FIDELITY_PREFIX:
        return _from_torch_fidelity(name)
    if name not in EXTRACTORS:
        known = ", ".join(EXTRACTORS)
        raise ValueError(f"expected an extractor of {known} or {FIDELITY_PREFIX}NAME; got {name!r}")
    return EXTRACTORS[name]


def _from_torch_fidelity(name: str) -> ExtractorSpec:
    return ExtractorSpec(
        name=name,
        short_name=name.removeprefix(FIDELITY_PREFIX),
        label=f"{name.removeprefix(FIDELITY_PREFIX)} of torch-fidelity",
        layer="its default for the Fréchet distance",
        dim=None,
        channels_rule="grey replicated to RGB",
        resize="as torch-fidelity does inside the extractor",
        implementation="evaluation.features.fidelity:build",
        help="A feature extractor of torch-fidelity's registry.",
    )


def has_known_weights(extractor: str, weights_sha256: str) -> bool:
    """Return whether values from these weights may carry the established names (FID, KID, IS)."""
    return extractor == INCEPTION and weights_sha256 == INCEPTION_2015_SHA256
