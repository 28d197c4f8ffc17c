"""The built-in metrics of prompts, in the order of boards.

What is right in an image is read by the protocol's judge, see `evaluation.scenes.parsing`. Images of
one prompt are more alike than images of several: an interval here is for other images of the same
prompts, which the protocol fixes, and not for other prompts.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from evaluation.protocols.metric_specs import MetricSpec, of
from evaluation.scenes.claims import ALL, ATTRIBUTES, UNSEEN

SEEN = "seen"
WILSON = of(method="Wilson score over the images, prompts held fixed")


def _following(name: str, label: str, prompts: str, claim: str, help_: str) -> MetricSpec:
    return MetricSpec(
        name=name,
        label=label,
        prefix="",
        higher_is_better=True,
        corner="quality",
        minimum=0.0,
        maximum=1.0,
        parameters=of(claim=claim, prompts=prompts, unparsed="not followed, absent if all are"),
        uncertainty=WILSON,
        needs=("claims",),
        headline=claim == ALL,
        by_default=True,
        help=help_,
    )


_EACH = tuple(
    _following(
        f"following_{claim}",
        f"Following: {claim}",
        SEEN,
        claim,
        f"Share of images whose {claim} is as the prompt says, of seen pairs of colour and shape.",
    )
    for claim in ATTRIBUTES
)
_EACH_UNSEEN = tuple(
    _following(
        f"following_{claim}_held_out",
        f"Following: {claim}, held out",
        UNSEEN,
        claim,
        f"Share of images whose {claim} is as the prompt says, of pairs that training never shows.",
    )
    for claim in ("colour", "shape")
)

PROMPTS = (
    _following(
        "following",
        "Following",
        SEEN,
        ALL,
        "Share of images with all that their prompt says and no other object, of seen pairs.",
    ),
    _following(
        "following_held_out",
        "Following, held out",
        UNSEEN,
        ALL,
        "Share of images with all that their prompt says, of pairs that training never shows.",
    ),
    *_EACH,
    *_EACH_UNSEEN,
    MetricSpec(
        name="unparsed",
        label="Unparsed",
        prefix="",
        higher_is_better=False,
        corner="quality",
        minimum=0.0,
        maximum=1.0,
        parameters=of(of="images whose prompt has claims"),
        uncertainty=WILSON,
        needs=("claims",),
        headline=True,
        by_default=True,
        help="Share of images in which the judge finds nothing that it can read.",
    ),
    MetricSpec(
        name="open_entropy",
        label="Open entropy",
        prefix="",
        higher_is_better=True,
        corner="coverage",
        minimum=0.0,
        maximum=None,
        parameters=of(
            unit="bits, mean over prompts",
            of="colour, shape and size that the prompt does not name, each by itself, added up",
            images="those with all that their prompt says, two or more",
        ),
        uncertainty=of(
            method="pseudo-values of the jackknife within each prompt, prompts held fixed",
            quantile="normal",
            correction="the same jackknife (Zahl, 1977)",
        ),
        needs=("claims",),
        headline=True,
        by_default=True,
        help="How varied is what a prompt leaves open, in the images that follow it.",
    ),
    MetricSpec(
        name="prompt_vendi",
        label="Vendi within prompts",
        prefix="Vendi within prompts",
        higher_is_better=True,
        corner="coverage",
        minimum=1.0,
        maximum=None,
        parameters=of(kernel="cosine", order=1, average="mean over prompts"),
        uncertainty=of(
            method="jackknife over the images of each prompt, prompts held fixed",
            quantile="Student t",
        ),
        needs=("prompts",),
        by_default=True,
        help="Effective number of different images among those of one prompt.",
    ),
)
OF_PROMPTS: Mapping[str, MetricSpec] = MappingProxyType({spec.name: spec for spec in PROMPTS})


def following_claim(parameters: Mapping[str, Any]) -> tuple[str, bool]:
    """Return which claim a metric of following counts, and whether on held-out prompts."""
    return str(parameters["claim"]), parameters["prompts"] == UNSEEN
