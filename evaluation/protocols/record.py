"""A protocol: everything that decides a metric's value, and a fingerprint of exactly that.

Two values may be compared if, and only if, the fingerprints of their protocols are equal.
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from evaluation.protocols.agreement import CLIP_SCORE, check_extra, check_model
from evaluation.protocols.checking import (
    HEX_64,
    ProtocolError,
    check_plain,
    expect,
    expect_count,
    expect_digest,
    is_count,
    known_fields,
)
from evaluation.protocols.extractors import EXTRACTORS, get_extractor
from evaluation.protocols.labels import check_rule, in_words
from evaluation.protocols.metrics import METRICS, is_of_prompts, metric_label, recorded_metric
from evaluation.protocols.plugins import is_package, is_signed, missing_package
from evaluation.protocols.prompts import check_asked

VERSION = 2
CONFIDENCE_LEVEL = 0.95
QUANTISATION = "uint8, from [-1, 1] by floor(127.5 x + 128) clipped to 0..255"
SELECTION = "all images, or a choice without replacement by PCG64 seed 0"
LOSSLESS = "generated images from lossy files are refused"
LOSSY_ACCEPTED = "generated images from lossy files are accepted"
IMAGES_PER_DIMENSION = 5
EXTRAPOLATED = "fd_infinity"  # a Fréchet distance whose record names no images per dimension
ALPHA = "an opaque alpha channel is dropped, any other is refused"
NUMERICS: Mapping[str, Any] = {"features": "float32, no TF32", "accumulation": "float64"}


@dataclass(frozen=True)
class Split:
    """Real images by content; ``split`` and ``lossy`` are for people and not in the fingerprint.

    ``lossy``: how many of them are known to come from lossy files; a record leaves out 0.
    """

    split: str
    digest: str
    count: int
    lossy: int = 0


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
    labels: Mapping[str, Any] | None = None  # of conditional samples; None = in turn, unsaid


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
    prompts: Mapping[str, Any] | None = None  # what images are asked with; None = labels or nothing
    numerics: Mapping[str, Any] = field(default_factory=lambda: dict(NUMERICS))
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check every field."""
        _check(self)

    def to_record(self) -> dict[str, Any]:
        """Return the whole protocol, names for people included, as plain JSON values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        if self.images.labels is None:  # as records of before have it
            del record["images"]["labels"]
        if self.prompts is None:
            del record["prompts"]
        for part in ("reference", "held_out"):
            if record[part] is not None and not record[part]["lossy"]:
                del record[part]["lossy"]
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
        values = known_fields(cls, copy.deepcopy(record), "")
        for name, part in _PARTS.items():
            if name != "held_out" or values[name] is not None:
                values[name] = part(**known_fields(part, values[name], f"{name}."))
        return cls(**values)

    def canonical_json(self) -> str:
        """Return the text that is hashed: sorted keys, no spaces, ASCII, no names for people."""
        return json.dumps(_identity(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def fingerprint(self) -> str:
        """Return the sha256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode("ascii")).hexdigest()

    def label(self, metric: str) -> str:
        """Return the name under which values of ``metric`` under this protocol are shown."""
        spec = recorded_metric(metric, self.metrics[metric])
        return metric_label(spec, self.extractor.name, self.extractor.weights_sha256)

    def check_packages(self) -> None:
        """Check that what other packages bring is installed here, in the same version, and extras.

        Raises:
            ProtocolError: if it is not: nothing can be scored then, though all can be read.
        """
        for name, parameters in self.metrics.items():
            installed = METRICS[name].package if name in METRICS else {}
            if missing := missing_package(parameters.get("package", {}), installed):
                raise ProtocolError(f"metrics.{name}", missing)
        name, wanted = self.extractor.name, self.extractor.recipe.get("package", {})
        installed = EXTRACTORS[name].package if name in EXTRACTORS else {}
        if missing := missing_package(wanted, installed):
            raise ProtocolError("extractor.name", f"{name} {missing}")
        check_extra(self.metrics)


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
    _put_labels_in_words(record_a, record_b)
    only_one = _measured_by_one(record_a, record_b)
    values_a, values_b = dict(_flatten(record_a)), dict(_flatten(record_b))
    paths = sorted(values_a.keys() | values_b.keys())
    return [
        f"{' '.join(path).replace('_', ' ')}: {_words(values_a, path)} and {_words(values_b, path)}"
        for path in paths
        if values_a.get(path, _ABSENT) != values_b.get(path, _ABSENT)
    ] + only_one


def _put_labels_in_words(record_a: dict[str, Any], record_b: dict[str, Any]) -> None:
    """Replace the rules of labels by words, where these tell them apart."""
    rules = [record["images"].get("labels") for record in (record_a, record_b)]
    if in_words(rules[0]) != in_words(rules[1]):
        for record, rule in zip((record_a, record_b), rules, strict=True):
            record["images"]["labels"] = in_words(rule)


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


_ABSENT = object()
_IMAGE_RULES = ("channels_rule", "quantisation", "resize", "selection", "lossy", "alpha")


def _identity(protocol: Protocol) -> dict[str, Any]:
    record = protocol.to_record()
    del record["dataset"]
    for part in ("reference", "held_out"):
        if record[part] is not None:
            del record[part]["split"]
            record[part].pop("lossy", None)
    if CLIP_SCORE in record["metrics"]:
        del record["metrics"][CLIP_SCORE]["model"]["name"]
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
    return short(text) if HEX_64.fullmatch(text) else text


def _check(protocol: Protocol) -> None:
    images, extractor = protocol.images, protocol.extractor
    expect("version", protocol.version == VERSION, str(VERSION), protocol.version)
    expect("dataset", isinstance(protocol.dataset, str), "text", protocol.dataset)
    _check_split("reference", protocol.reference)
    kind = protocol.reference.kind
    expect("reference.kind", kind in ("images", "statistics"), "images or statistics", kind)
    if protocol.held_out is not None:
        _check_split("held_out", protocol.held_out)
    expect_digest("extractor.weights_sha256", extractor.weights_sha256)
    for name, count in (
        ("extractor.dim", extractor.dim),
        ("images.resolution", images.resolution),
        ("num_images", protocol.num_images),
    ):
        expect_count(name, count, minimum=1)
    expect(
        "images.channels",
        is_count(images.channels) and images.channels in (1, 3),
        "1 or 3",
        images.channels,
    )
    for name, text in (
        ("extractor.layer", extractor.layer),
        *((f"images.{rule}", getattr(images, rule)) for rule in _IMAGE_RULES),
    ):
        expect(name, isinstance(text, str), "text", text)
    check_rule(images.labels)
    check_asked(protocol.prompts)
    check_plain("numerics", protocol.numerics)
    _check_name(extractor)
    _check_metrics(protocol)


def _check_name(extractor: ExtractorIdentity) -> None:
    """Check that the extractor exists, here or in the package that the recipe names."""
    check_plain("extractor.recipe", extractor.recipe)
    package = extractor.recipe.get("package", {})
    expect("extractor.recipe", is_package(package), "a package's name and version", package)
    if package:
        return
    try:
        get_extractor(str(extractor.name))
    except ValueError as error:
        raise ProtocolError("extractor.name", str(error)) from error


def _check_split(name: str, split: Split) -> None:
    expect(f"{name}.split", isinstance(split.split, str), "text", split.split)
    expect_digest(f"{name}.digest", split.digest)
    known = not (isinstance(split, Reference) and split.kind == "statistics")
    expect_count(f"{name}.count", split.count, minimum=1 if known else 0)
    expect_count(f"{name}.lossy", split.lossy, minimum=0)


def _check_metrics(protocol: Protocol) -> None:
    metrics, uncertainty = protocol.metrics, protocol.uncertainty
    check_plain("metrics", metrics)
    check_plain("uncertainty", uncertainty)
    expect("metrics", len(metrics) > 0, "at least one metric with its parameters", metrics)
    for name, parameters in metrics.items():
        check_plain(f"metrics.{name}", parameters)
        is_known = name in METRICS or "package" in parameters
        expect(f"metrics.{name}", is_known, f"a metric of {', '.join(METRICS)}", name)
        expect(f"metrics.{name}", is_signed(parameters), "package and board", parameters)
        check_plain(f"uncertainty.{name}", uncertainty.get(name))
        if is_of_prompts(name) and "package" not in parameters:
            _check_need(name, protocol.prompts)
    check_model(metrics)
    level = uncertainty.get("level")
    is_level = isinstance(level, float) and 0 < level < 1
    expect("uncertainty.level", is_level, "a number in 0..1", level)


def _check_need(metric: str, prompts: Mapping[str, Any] | None) -> None:
    """Check that the protocol has the prompts that one of their metrics needs."""
    judged = "claims" in METRICS[metric].needs
    if prompts is None or (judged and prompts["judge"] is None):
        need = "prompts with claims" if judged else "prompts"
        raise ProtocolError(f"metrics.{metric}", f"needs {need}")


def images_needed(protocol: Protocol, name: str) -> tuple[int, str]:
    """Return how many images a metric needs, and what they are needed for; 0 = any number."""
    parameters = {**protocol.metrics[name], **protocol.uncertainty[name]}
    default = IMAGES_PER_DIMENSION if name == EXTRAPOLATED else 0
    each = parameters.get("images_per_dimension", default)
    recipe = protocol.extractor.recipe
    width = protocol.extractor.dim // (len(recipe.get("keys", ())) or 1)  # of each network
    words = f"{each} for each of {width:,} features"
    if "classes" not in parameters:
        return each * width, words
    classes = _classes(recipe)
    return each * width * classes, f"{words} in each of {classes} classes"


def _classes(recipe: Mapping[str, Any]) -> int:
    return int(recipe.get("architecture", {}).get("classes", 1))
