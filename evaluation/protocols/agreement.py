"""How well images and prompts agree for a CLIP-like model that somebody supplies.

The model is part of the metric's parameters: its digest decides values and is in the fingerprint, its
name is for people. Needs the extra `text` where it is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Self

from evaluation.protocols.checking import ProtocolError, expect, expect_digest
from evaluation.protocols.metric_specs import MetricSpec, of

CLIP_SCORE = "clip_score"
MISSING_EXTRA = "needs the package transformers: pip install 'trilemma[text]'"
AGREEMENT = MetricSpec(
    name=CLIP_SCORE,
    label="CLIPScore",
    prefix="",
    higher_is_better=True,
    corner="quality",
    minimum=0.0,
    maximum=100.0,
    parameters=of(
        formula="100 max(cos, 0) of image and prompt, mean over images",
        images="as the model's preprocessor_config.json says, with Pillow; grey repeated",
        prompts="cut at as many tokens as the model reads",
    ),
    uncertainty=of(
        method="variance of the images within each prompt, prompts held fixed; over all images "
        "where a prompt has one, which errs on the wide side",
        quantile="Student t",
    ),
    needs=("prompts", "clip"),
    headline=True,
    by_default=True,
    help="How well images agree with their prompts for a CLIP-like model, 0 to 100. Alone it says "
    "little: read it between its floor, other prompts, and its ceiling, real pairs.",
)


@dataclass(frozen=True)
class ClipIdentity:
    """A CLIP-like model: what people call it, and the sha256 of the files that it is read from."""

    name: str
    sha256: str

    @property
    def label(self) -> str:
        """Return the only name under which values by this model may be shown."""
        return f"{AGREEMENT.label}[{self.name}@{self.sha256[:8]}]"

    @property
    def folder(self) -> str:
        """Return what its folder is called among weights that are kept."""
        return f"clip-{self.sha256[:16]}"

    def to_record(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"name": self.name, "sha256": self.sha256}

    @classmethod
    def of(cls, metrics: Mapping[str, Mapping[str, Any]]) -> Self | None:
        """Return the model of a record's metrics, None where none needs one."""
        given = metrics.get(CLIP_SCORE, {}).get("model")
        return None if given is None else cls(**given)


def with_model(spec: MetricSpec, parameters: Mapping[str, Any]) -> MetricSpec:
    """Return the spec of a record's metric, its label naming the model where it has one."""
    if spec.name != CLIP_SCORE or (found := ClipIdentity.of({CLIP_SCORE: parameters})) is None:
        return spec
    return replace(spec, label=found.label)


def check_model(metrics: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ProtocolError unless a record that measures agreement names its model."""
    if CLIP_SCORE not in metrics:
        return
    where, given = f"metrics.{CLIP_SCORE}.model", metrics[CLIP_SCORE].get("model")
    is_model = isinstance(given, Mapping) and {*given} == {"name", "sha256"}
    expect(where, is_model, "name and sha256", given)
    assert isinstance(given, Mapping), "it was expected"
    expect(f"{where}.name", isinstance(given["name"], str), "text", given["name"])
    expect_digest(f"{where}.sha256", given["sha256"])


def check_extra(metrics: Mapping[str, Any]) -> None:
    """Raise ProtocolError if a metric needs an extra that is not installed here."""
    if CLIP_SCORE in metrics and find_spec("transformers") is None:
        raise ProtocolError(f"metrics.{CLIP_SCORE}", MISSING_EXTRA)
