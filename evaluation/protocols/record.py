"""A protocol: everything that decides a metric's value, and a fingerprint of exactly that.

Two values may be compared if, and only if, the fingerprints of their protocols are equal.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from evaluation.protocols.presets import MAX_IMAGES
from evaluation.protocols.specs import (
    METRICS,
    OF_STATISTICS,
    ExtractorSpec,
    default_metrics,
    get_extractor,
    get_metric,
    metric_label,
    missing_needs,
)

VERSION = 2
CONFIDENCE_LEVEL = 0.95
QUANTISATION = "uint8, from [-1, 1] by floor(127.5 x + 128) clipped to 0..255"
SELECTION = "all images, or a choice without replacement by PCG64 seed 0"
LOSSLESS = "generated images from lossy files are refused"
LOSSY_ACCEPTED = "generated images from lossy files are accepted"
ALPHA = "an opaque alpha channel is dropped, any other is refused"
NUMERICS: Mapping[str, Any] = {"features": "float32, no TF32", "accumulation": "float64"}


class ProtocolError(ValueError):
    """A record is no protocol; the message begins with the name of the field."""

    def __init__(self, name: str, message: str) -> None:
        """Keep the dotted name of the field beside the message."""
        super().__init__(f"{name}: {message}")
        self.field = name


@dataclass(frozen=True)
class SplitFacts:
    """One split of a dataset: the digest of its images (see `images_digest`) and their number."""

    digest: str
    count: int
    kind: str = "images"  # or "statistics": a published mean and covariance alone


@dataclass(frozen=True)
class DatasetFacts:
    """What a protocol needs to know of a dataset; ``splits`` has "train" and usually "test"."""

    slug: str
    resolution: int  # pixels per side
    channels: int  # 1 = grey, 3 = RGB
    splits: Mapping[str, SplitFacts]


@dataclass(frozen=True)
class Split:
    """Real images by content; the split's name is for people and no part of the fingerprint."""

    split: str
    digest: str
    count: int


@dataclass(frozen=True)
class Reference(Split):
    """The real images that generated ones are compared with.

    ``kind`` "statistics" = only a published mean and covariance are known, of ``count`` images
    (0 = nobody says); the digest is then theirs.
    """

    kind: str = "images"


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
    lossy: str
    alpha: str


@dataclass(frozen=True)
class Protocol:
    """How generated images are scored: everything that changes a value and nothing else.

    ``metrics`` maps metric names to their parameters, ``uncertainty`` holds the confidence level
    and, for each metric, the method of its interval. Both are plain JSON values. ``held_out`` are
    real images that nothing was trained on, for metrics that need them. ``dataset`` is a name for
    people: the images are known by their digests, and only those are in the fingerprint.

    Raises:
        ProtocolError: if a field is wrong; it names the field.
    """

    dataset: str
    reference: Reference
    held_out: Split | None
    extractor: ExtractorIdentity
    images: ImageRules
    num_images: int
    metrics: Mapping[str, Mapping[str, Any]]
    uncertainty: Mapping[str, Any]
    numerics: Mapping[str, Any] = field(default_factory=lambda: dict(NUMERICS))
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self)

    def to_record(self) -> dict[str, Any]:
        """Return the whole protocol, names for people included, as plain JSON values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return record

    @classmethod
    def from_record(cls, record: object) -> "Protocol":
        """Return the protocol that ``to_record`` wrote.

        Raises:
            ProtocolError: if a field is missing, unknown or wrong.
        """
        if isinstance(record, Mapping) and record.get("version") == 1:
            raise ProtocolError(
                "version", f"expected {VERSION}, got 1, of an earlier Trilemma: register it again"
            )
        values = _known_fields(cls, copy.deepcopy(record), "")
        for name, part in _PARTS.items():
            if name != "held_out" or values[name] is not None:
                values[name] = part(**_known_fields(part, values[name], f"{name}."))
        return cls(**values)

    def canonical_json(self) -> str:
        """Return the text that is hashed: sorted keys, no spaces, ASCII, no names for people."""
        return json.dumps(_identity(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def fingerprint(self) -> str:
        """Return the sha256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode("ascii")).hexdigest()

    def label(self, metric: str) -> str:
        """Return the name under which values of ``metric`` under this protocol are shown."""
        return metric_label(metric, self.extractor.name, self.extractor.weights_sha256)


_PARTS: dict[str, type] = {
    "reference": Reference,
    "held_out": Split,
    "extractor": ExtractorIdentity,
    "images": ImageRules,
}


def short(fingerprint: str) -> str:
    """Return the first 12 digits of a fingerprint, for people."""
    return fingerprint[:12]


def differences(a: Protocol, b: Protocol) -> list[str]:
    """Return in words why values under ``a`` and ``b`` may not be compared; empty if they may."""
    record_a, record_b = _identity(a), _identity(b)
    only_one = _measured_by_one(record_a, record_b)
    values_a, values_b = dict(_flatten(record_a)), dict(_flatten(record_b))
    paths = sorted(values_a.keys() | values_b.keys())
    return [
        f"{' '.join(path).replace('_', ' ')}: {_words(values_a, path)} and {_words(values_b, path)}"
        for path in paths
        if values_a.get(path, _ABSENT) != values_b.get(path, _ABSENT)
    ] + only_one


def _measured_by_one(record_a: dict[str, Any], record_b: dict[str, Any]) -> list[str]:
    """Return a line for each metric that one of two records has alone, and take it out of both."""
    lines = []
    for name in sorted(record_a["metrics"].keys() ^ record_b["metrics"].keys()):
        words = ("measured", "not") if name in record_a["metrics"] else ("not", "measured")
        lines.append(f"metric {name.replace('_', ' ')}: {' and '.join(words)}")
        for record in (record_a, record_b):
            record["metrics"].pop(name, None)
            record["uncertainty"].pop(name, None)
    return lines


def build_protocol(
    dataset: DatasetFacts,
    *,
    extractor: str,
    weights_sha256: str,
    recipe: Mapping[str, Any],
    dim: int | None = None,  # features per image; None = as the extractor always has
    metrics: Iterable[str] | None = None,  # None = those measured by default
    num_images: int | None = None,
    reference_split: str = "train",
    lossy: str = LOSSLESS,
) -> Protocol:
    """Return the protocol of these metrics at their default parameters.

    ``num_images`` is how many generated images are scored; by default the size of the test split,
    at most 10 000. A split called "test" beside the reference is held out. ``recipe`` says how the
    weights came about ({} = they were published).

    Raises:
        ProtocolError: if a fact is wrong, or a metric needs what there is not.
    """
    if reference_split not in dataset.splits:
        known = ", ".join(dataset.splits)
        raise ProtocolError("reference.split", f"expected one of {known}; got {reference_split!r}")
    spec = get_extractor(extractor)
    reference = dataset.splits[reference_split]
    held_out = _held_out(dataset, reference_split)
    count = _default_num_images(held_out, reference) if num_images is None else num_images
    names = _metric_names(metrics, extractor, reference.kind, held_out is not None)
    return Protocol(
        dataset=dataset.slug,
        reference=Reference(
            reference_split, reference.digest, reference.count, kind=reference.kind
        ),
        held_out=held_out,
        extractor=ExtractorIdentity(
            name=spec.name,
            layer=spec.layer,
            dim=dim or spec.dim or 0,
            weights_sha256=weights_sha256,
            recipe=dict(recipe),
        ),
        images=_image_rules(dataset, spec, lossy),
        num_images=count,
        metrics={name: _parameters(name, reference.count, count) for name in names},
        uncertainty={
            "level": CONFIDENCE_LEVEL,
            **{name: dict(METRICS[name].uncertainty) for name in names},
        },
    )


def _held_out(dataset: DatasetFacts, reference_split: str) -> Split | None:
    test = dataset.splits.get("test")
    if test is None or reference_split == "test":
        return None
    return Split("test", test.digest, test.count)


def _default_num_images(held_out: Split | None, reference: SplitFacts) -> int:
    return min(MAX_IMAGES, (held_out or reference).count)


def _metric_names(
    wanted: Iterable[str] | None, extractor: str, kind: str, held_out: bool
) -> tuple[str, ...]:
    """Return the wanted metrics in the order of boards, each once."""
    if wanted is None:
        if kind == "statistics":
            return OF_STATISTICS[:1]
        return default_metrics(extractor, held_out=held_out)
    chosen = set(wanted)
    for name in chosen:
        try:
            get_metric(name)
        except ValueError as error:
            raise ProtocolError("metrics", str(error)) from error
        if missing := missing_needs(name, extractor, held_out=held_out):
            raise ProtocolError(f"metrics.{name}", f"needs {' and '.join(missing)}")
        if kind == "statistics" and name not in OF_STATISTICS:
            raise ProtocolError(f"metrics.{name}", "needs reference images, not their statistics")
    return tuple(name for name in METRICS if name in chosen)


def _image_rules(dataset: DatasetFacts, spec: ExtractorSpec, lossy: str) -> ImageRules:
    return ImageRules(
        resolution=dataset.resolution,
        channels=dataset.channels,
        channels_rule=spec.channels_rule,
        quantisation=QUANTISATION,
        resize=spec.resize,
        selection=SELECTION,
        lossy=lossy,
        alpha=ALPHA,
    )


def _parameters(metric: str, reference_count: int, num_images: int) -> dict[str, Any]:
    """Return a metric's parameters, with the number of reference images where it is limited."""
    parameters = dict(METRICS[metric].parameters)
    if metric in ("kd", "sliced_wasserstein"):
        parameters["reference_count"] = min(reference_count, MAX_IMAGES)
    if metric in ("precision", "recall", "density", "coverage"):
        # As many real as generated images: unequal sets shrink the radii of one side.
        parameters["reference_count"] = min(reference_count, max(num_images, 2))
    return parameters


_ABSENT = object()
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_IMAGE_RULES = ("channels_rule", "quantisation", "resize", "selection", "lossy", "alpha")
_FOR_PEOPLE = {"dataset": "", "recipe": {}}  # what a record may leave out


def _identity(protocol: Protocol) -> dict[str, Any]:
    record = protocol.to_record()
    del record["dataset"]
    for part in ("reference", "held_out"):
        if record[part] is not None:
            del record[part]["split"]
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
        if name not in record and name not in _FOR_PEOPLE:
            raise ProtocolError(f"{prefix}{name}", "missing")
    return {**{name: _FOR_PEOPLE[name] for name in _FOR_PEOPLE if name in names}, **record}


def _check(protocol: Protocol) -> None:
    images, extractor = protocol.images, protocol.extractor
    _expect("version", protocol.version == VERSION, str(VERSION), protocol.version)
    _expect("dataset", isinstance(protocol.dataset, str), "text", protocol.dataset)
    _check_split("reference", protocol.reference)
    kind = protocol.reference.kind
    _expect("reference.kind", kind in ("images", "statistics"), "images or statistics", kind)
    if protocol.held_out is not None:
        _check_split("held_out", protocol.held_out)
    _expect_digest("extractor.weights_sha256", extractor.weights_sha256)
    for name, count in (
        ("extractor.dim", extractor.dim),
        ("images.resolution", images.resolution),
        ("num_images", protocol.num_images),
    ):
        _expect_count(name, count, minimum=1)
    _expect(
        "images.channels",
        _is_count(images.channels) and images.channels in (1, 3),
        "1 or 3",
        images.channels,
    )
    for name, text in (
        ("extractor.layer", extractor.layer),
        *((f"images.{rule}", getattr(images, rule)) for rule in _IMAGE_RULES),
    ):
        _expect(name, isinstance(text, str), "text", text)
    try:
        get_extractor(str(extractor.name))
    except ValueError as error:
        raise ProtocolError("extractor.name", str(error)) from error
    _check_plain("numerics", protocol.numerics)
    _check_metrics(protocol)


def _check_split(name: str, split: Split) -> None:
    _expect(f"{name}.split", isinstance(split.split, str), "text", split.split)
    _expect_digest(f"{name}.digest", split.digest)
    known = not (isinstance(split, Reference) and split.kind == "statistics")
    _expect_count(f"{name}.count", split.count, minimum=1 if known else 0)


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


def _expect_digest(name: str, value: object) -> None:
    is_digest = isinstance(value, str) and _HEX_64.fullmatch(value) is not None
    _expect(name, is_digest, "64 lower-case hexadecimal digits", value)


def _expect_count(name: str, value: object, *, minimum: int) -> None:
    holds = isinstance(value, int) and _is_count(value) and value >= minimum
    _expect(name, holds, f"a whole number of at least {minimum}", value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
