"""A protocol: everything that decides a metric's value, and a fingerprint of exactly that.

Two values may be compared if, and only if, the fingerprints of their protocols are equal.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from evaluation.specs import (
    EXTRACTORS,
    METRICS,
    ExtractorSpec,
    get_extractor,
    metric_label,
)

VERSION = 1
MAX_IMAGES = 10_000  # default size of the compared sets: keeps neighbour searches affordable
CONFIDENCE_LEVEL = 0.95
QUANTISATION = "uint8, from [-1, 1] by floor(127.5 x + 128) clipped to 0..255"
SELECTION = "all images, or a choice without replacement by PCG64 seed 0"


class ProtocolError(ValueError):
    """A record is no protocol; the message begins with the name of the field."""

    def __init__(self, name: str, message: str) -> None:
        """Keep the dotted name of the field beside the message."""
        super().__init__(f"{name}: {message}")
        self.field = name


@dataclass(frozen=True)
class SplitFacts:
    """One split of a dataset: the sha256 of its content and how many images it holds."""

    digest: str
    count: int


@dataclass(frozen=True)
class DatasetFacts:
    """What a protocol needs to know of a dataset; ``splits`` has "train" and usually "test"."""

    slug: str
    digest: str
    resolution: int  # pixels per side
    channels: int  # 1 = grey, 3 = RGB
    splits: Mapping[str, SplitFacts]


@dataclass(frozen=True)
class DatasetIdentity:
    """The dataset by content; ``slug`` is for people and no part of the fingerprint."""

    digest: str
    slug: str = ""


@dataclass(frozen=True)
class Reference:
    """The real images that generated ones are compared with."""

    split: str
    digest: str
    count: int


@dataclass(frozen=True)
class ExtractorIdentity:
    """The network whose features are compared, by the sha256 of its weights."""

    name: str
    layer: str
    dim: int  # features per image
    weights_sha256: str
    recipe: Mapping[str, Any] = field(default_factory=dict)  # how the weights were trained


@dataclass(frozen=True)
class ImageRules:
    """What images look like and what happens to them before they reach the extractor."""

    resolution: int  # pixels per side
    channels: int  # 1 = grey, 3 = RGB
    channels_rule: str
    quantisation: str
    resize: str
    selection: str


@dataclass(frozen=True)
class Protocol:
    """How generated images are scored: everything that changes a value and nothing else.

    ``metrics`` maps metric names to their parameters, ``uncertainty`` holds the confidence level
    and, for each metric, the method of its interval. Both are plain JSON values.

    Raises:
        ProtocolError: if a field is wrong; it names the field.
    """

    dataset: DatasetIdentity
    reference: Reference
    extractor: ExtractorIdentity
    images: ImageRules
    num_images: int
    metrics: Mapping[str, Mapping[str, Any]]
    uncertainty: Mapping[str, Any]
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self)

    def to_record(self) -> dict[str, Any]:
        """Return the whole protocol, slug included, as plain JSON values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Protocol":
        """Return the protocol that ``to_record`` wrote.

        Raises:
            ProtocolError: if a field is missing, unknown or wrong.
        """
        values = _known_fields(cls, copy.deepcopy(record), "")
        for name, part in _PARTS.items():
            values[name] = part(**_known_fields(part, values[name], f"{name}."))
        return cls(**values)

    def canonical_json(self) -> str:
        """Return the text that is hashed: sorted keys, no spaces, ASCII, without the slug."""
        return json.dumps(_identity(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def fingerprint(self) -> str:
        """Return the sha256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode("ascii")).hexdigest()

    def label(self, metric: str) -> str:
        """Return the name under which values of ``metric`` under this protocol are shown."""
        return metric_label(metric, self.extractor.name, self.extractor.weights_sha256)


_PARTS = {
    "dataset": DatasetIdentity,
    "reference": Reference,
    "extractor": ExtractorIdentity,
    "images": ImageRules,
}


def short(fingerprint: str) -> str:
    """Return the first 12 digits of a fingerprint, for people."""
    return fingerprint[:12]


def differences(a: Protocol, b: Protocol) -> list[str]:
    """Return in words why values under ``a`` and ``b`` may not be compared; empty if they may."""
    values_a, values_b = dict(_flatten(_identity(a))), dict(_flatten(_identity(b)))
    paths = sorted(values_a.keys() | values_b.keys())
    return [
        f"{' '.join(path).replace('_', ' ')}: {_words(values_a, path)} and {_words(values_b, path)}"
        for path in paths
        if values_a.get(path, _ABSENT) != values_b.get(path, _ABSENT)
    ]


def build_protocol(
    dataset: DatasetFacts,
    *,
    extractor: str,
    weights_sha256: str,
    recipe: Mapping[str, Any],
    num_images: int | None = None,
    reference_split: str = "train",
) -> Protocol:
    """Return the protocol with every metric at its default parameters.

    ``num_images`` is how many generated images are scored; by default the size of the test split,
    at most 10 000. ``recipe`` says how the weights came about ({} = they were published).

    Raises:
        ProtocolError: if a fact is wrong, or the test split is too small for the real-vs-real row.
    """
    if reference_split not in dataset.splits:
        known = ", ".join(dataset.splits)
        raise ProtocolError("reference.split", f"expected one of {known}; got {reference_split!r}")
    spec = get_extractor(extractor)
    reference = dataset.splits[reference_split]
    count = _default_num_images(dataset, reference) if num_images is None else num_images
    _check_control_fits(dataset, count)
    return Protocol(
        dataset=DatasetIdentity(digest=dataset.digest, slug=dataset.slug),
        reference=Reference(split=reference_split, digest=reference.digest, count=reference.count),
        extractor=ExtractorIdentity(
            name=spec.name,
            layer=spec.layer,
            dim=spec.dim,
            weights_sha256=weights_sha256,
            recipe=dict(recipe),
        ),
        images=_image_rules(dataset, spec),
        num_images=count,
        metrics=_default_metrics(reference.count, count),
        uncertainty=_default_uncertainty(),
    )


def _default_num_images(dataset: DatasetFacts, reference: SplitFacts) -> int:
    control = dataset.splits.get("test", reference)
    return min(MAX_IMAGES, control.count)


def _check_control_fits(dataset: DatasetFacts, num_images: int) -> None:
    test = dataset.splits.get("test")
    if test is not None and _is_count(num_images) and num_images > test.count:
        raise ProtocolError(
            "num_images",
            f"expected at most the {test.count} images of the test split, which is scored as the "
            f"real-vs-real control; got {num_images}",
        )


def _image_rules(dataset: DatasetFacts, spec: ExtractorSpec) -> ImageRules:
    return ImageRules(
        resolution=dataset.resolution,
        channels=dataset.channels,
        channels_rule=spec.channels_rule,
        quantisation=QUANTISATION,
        resize=spec.resize,
        selection=SELECTION,
    )


def _default_metrics(reference_count: int, num_images: int) -> dict[str, dict[str, Any]]:
    metrics = {name: dict(spec.parameters) for name, spec in METRICS.items()}
    metrics["kd"]["reference_count"] = min(reference_count, MAX_IMAGES)
    for name in ("precision", "recall"):
        # As many real as generated images: unequal sets shrink the radii of one side.
        metrics[name]["reference_count"] = min(reference_count, num_images)
    return metrics


def _default_uncertainty() -> dict[str, Any]:
    methods = {name: dict(spec.uncertainty) for name, spec in METRICS.items()}
    return {"level": CONFIDENCE_LEVEL, **methods}


_ABSENT = object()
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_IMAGE_RULES = ("channels_rule", "quantisation", "resize", "selection")


def _identity(protocol: Protocol) -> dict[str, Any]:
    record = protocol.to_record()
    del record["dataset"]["slug"]
    return record


def _flatten(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _flatten(part, (*path, key))
    else:
        yield path, value


def _words(values: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> str:
    value = values.get(path, _ABSENT)
    if value is _ABSENT:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value)
    return short(text) if _HEX_64.fullmatch(text) else text


def _known_fields(kind: type, record: object, prefix: str) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise ProtocolError(prefix.rstrip(".") or "record", f"expected an object, got {record!r}")
    names = [item.name for item in fields(kind)]
    for name in record:
        if name not in names:
            raise ProtocolError(f"{prefix}{name}", f"unknown; expected {', '.join(names)}")
    for name in names:
        if name not in record and name not in ("slug", "recipe"):
            raise ProtocolError(f"{prefix}{name}", "missing")
    return dict(record)


def _check(protocol: Protocol) -> None:
    images, extractor, reference = protocol.images, protocol.extractor, protocol.reference
    _expect("version", protocol.version == VERSION, str(VERSION), protocol.version)
    for name, digest in (
        ("dataset.digest", protocol.dataset.digest),
        ("reference.digest", reference.digest),
        ("extractor.weights_sha256", extractor.weights_sha256),
    ):
        _expect(name, _is_digest(digest), "64 lower-case hexadecimal digits", digest)
    for name, count in (
        ("reference.count", reference.count),
        ("extractor.dim", extractor.dim),
        ("images.resolution", images.resolution),
        ("num_images", protocol.num_images),
    ):
        _expect(name, _is_count(count) and count > 0, "a whole number of at least 1", count)
    _expect(
        "images.channels",
        _is_count(images.channels) and images.channels in (1, 3),
        "1 or 3",
        images.channels,
    )
    for name, text in (
        ("dataset.slug", protocol.dataset.slug),
        ("reference.split", reference.split),
        ("extractor.layer", extractor.layer),
        *((f"images.{rule}", getattr(images, rule)) for rule in _IMAGE_RULES),
    ):
        _expect(name, isinstance(text, str), "text", text)
    _expect(
        "extractor.name",
        str(extractor.name) in EXTRACTORS,
        f"one of {', '.join(EXTRACTORS)}",
        extractor.name,
    )
    _check_metrics(protocol)


def _check_metrics(protocol: Protocol) -> None:
    metrics, uncertainty = protocol.metrics, protocol.uncertainty
    _check_plain("metrics", metrics)
    _check_plain("uncertainty", uncertainty)
    _expect("metrics", len(metrics) > 0, "at least one metric with its parameters", metrics)
    for name, parameters in metrics.items():
        _expect(f"metrics.{name}", name in METRICS, f"a metric of {', '.join(METRICS)}", name)
        _check_plain(f"metrics.{name}", parameters)
        _check_plain(f"uncertainty.{name}", uncertainty.get(name))
    _check_plain("extractor.recipe", protocol.extractor.recipe)
    level = uncertainty.get("level")
    is_level = isinstance(level, float) and 0 < level < 1
    _expect("uncertainty.level", is_level, "a number in 0..1", level)


def _check_plain(name: str, value: object) -> None:
    _expect(name, isinstance(value, Mapping), "an object", value)
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProtocolError(name, "expected plain JSON values with finite numbers") from error


def _expect(name: str, holds: bool, expected: str, value: object) -> None:
    if not holds:
        raise ProtocolError(name, f"expected {expected}, got {value!r}")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _HEX_64.fullmatch(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
