"""The command line: ``python -m evaluation score|classifier|inception|compare``."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from evaluation.arguments import build_parser
from evaluation.evaluate import EvaluationError, EvaluationResult, evaluate
from evaluation.extractors.base import Extractor, ExtractorError, file_sha256
from evaluation.extractors.classifier import (
    ClassifierExtractor,
    LabelledImages,
    TrainedClassifier,
    prepare_classifier,
)
from evaluation.extractors.inception import InceptionExtractor, find_weights
from evaluation.images import ImageError, Images, read_images, read_parts, write_npz
from evaluation.protocol import (
    DatasetFacts,
    Protocol,
    ProtocolError,
    SplitFacts,
    build_protocol,
    differences,
)
from evaluation.specs import INCEPTION, arrow, has_known_weights

EXIT_DIFFERENT = 1
EXIT_ERROR = 2
WIDE = 200  # columns, where no terminal says how many there are: labels are never cut


class CommandError(Exception):
    """The command cannot do what was asked; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (not comparable) or 2 (an error)."""
    commands = {
        "score": _score,
        "classifier": _classifier,
        "inception": _inception,
        "compare": _compare,
    }
    options = build_parser(commands).parse_args(arguments)
    try:
        status: int = options.command(options)
    except (
        CommandError,
        EvaluationError,
        ExtractorError,
        ImageError,
        ProtocolError,
        OSError,
    ) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    return status


def _score(options: argparse.Namespace) -> int:
    given = _read_protocol(options.protocol) if options.protocol else None
    generated = _read(options.generated, "generated images", part=options.part)
    reference = _read(options.reference, "reference", part=options.reference_part)
    name = given.extractor.name if given else options.extractor
    with _progress() as progress:
        extractor = _extractor(name, options, reference, progress)
        protocol = given or _protocol(options, extractor, generated, reference)
        if given:
            _check_reference(given, reference)
        task = progress.add_task("scoring", total=1.0)
        result = evaluate(
            protocol,
            generated.pixels,
            reference.pixels,
            extractor=extractor,
            batch_size=options.batch_size,
            on_progress=lambda stage, share: progress.update(
                task, description=stage, completed=share
            ),
            cache=options.cache,
        )
    _print_result(result, protocol)
    if options.json:
        _write_json(options.json, _record(result, protocol, extractor))
    return 0


def _extractor(
    name: str, options: argparse.Namespace, reference: Images, progress: Progress
) -> Extractor:
    if name == INCEPTION:
        return InceptionExtractor(
            options.weights or find_weights(options.cache), device=options.device
        )
    if options.weights:
        return ClassifierExtractor(options.weights, device=options.device)
    train = reference
    if options.classifier_data:
        train = _read(options.classifier_data, "classifier data", part="train")
    labelled = _labelled(train, "--classifier-data" if options.classifier_data else "--reference")
    trained = _trained(options.cache, labelled, None, len(train.classes), progress)
    return ClassifierExtractor(trained.folder, device=options.device)


def _trained(
    cache: Path,
    train: LabelledImages,
    test: LabelledImages | None,
    num_classes: int,
    progress: Progress,
) -> TrainedClassifier:
    task = progress.add_task("training the classifier", total=1.0)
    return prepare_classifier(
        cache,
        train,
        test=test,
        num_classes=num_classes,
        on_progress=lambda share: progress.update(task, completed=share),
    )


def _protocol(
    options: argparse.Namespace, extractor: Extractor, generated: Images, reference: Images
) -> Protocol:
    pixels = reference.pixels
    digest = _npz_sha256(reference)
    return build_protocol(
        DatasetFacts(
            slug=options.reference.name,
            resolution=pixels.shape[2],
            channels=pixels.shape[1],
            splits={"reference": SplitFacts(digest=digest, count=len(pixels))},
        ),
        extractor=extractor.name,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        num_images=len(generated.pixels) if options.num_images is None else options.num_images,
        reference_split="reference",
    )


def _npz_sha256(images: Images) -> str:
    """Return the digest that these images have as a stored split, whatever they came in."""
    with tempfile.TemporaryDirectory() as folder:
        return write_npz(Path(folder) / "split.npz", images.pixels, images.labels)


def _check_reference(protocol: Protocol, reference: Images) -> None:
    found = _npz_sha256(reference)
    if found != protocol.reference.digest:
        raise CommandError(
            f"the reference is not the protocol's: expected sha256 {protocol.reference.digest}, "
            f"got {found}"
        )


def _classifier(options: argparse.Namespace) -> int:
    train = _read(options.data, "--data", part="train")
    test = _read(options.test, "--test", part="test") if options.test else None
    with _progress() as progress:
        trained = _trained(
            options.out,
            _labelled(train, "--data"),
            _labelled(test, "--test") if test else None,
            len(train.classes),
            progress,
        )
    record = {
        "weights": str(trained.weights),
        "weights_sha256": trained.weights_sha256,
        "test_accuracy": trained.test_accuracy,
        "dim": trained.dim,
        "recipe": trained.recipe,
    }
    _print_record(record, as_json=options.json)
    return 0


def _inception(options: argparse.Namespace) -> int:
    given = options.weights or find_weights(options.out)
    digest = InceptionExtractor(given).weights_sha256  # loads it: a file that cannot is refused
    kept = options.out / f"inception-{digest[:16]}.pth"
    if not kept.exists() or file_sha256(kept) != digest:
        _copy(given, kept)
    record = {
        "weights": str(kept),
        "weights_sha256": digest,
        "known_weights": has_known_weights(INCEPTION, digest),
    }
    _print_record(record, as_json=options.json)
    return 0


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        shutil.copyfile(source, Path(folder) / "copy").replace(target)


def _print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        _say(json.dumps(record, indent=2))
        return
    for name, value in record.items():
        _say(f"{name:15} {json.dumps(value) if isinstance(value, dict) else value}")


def _compare(options: argparse.Namespace) -> int:
    a, b = _read_protocol(options.a), _read_protocol(options.b)
    reasons = differences(a, b)
    if not reasons:
        _say(f"comparable: both have the fingerprint {a.fingerprint()}")
        return 0
    _say("not comparable:")
    for reason in reasons:
        _say(f"  {reason}")
    return EXIT_DIFFERENT


def _read_protocol(path: Path) -> Protocol:
    """Return the protocol in a file: alone, or as part of a result."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{path} is no JSON: {error}") from error
    if isinstance(record, dict) and "protocol" in record:
        record = record["protocol"]
    try:
        return Protocol.from_record(record)
    except ProtocolError as error:
        raise CommandError(f"{path} holds no protocol: {error}") from error


def _read(path: Path, what: str, *, part: str | None = None) -> Images:
    """Return the images at ``path``; of a source with parts, the ``part`` that is meant."""
    if not path.exists():
        raise CommandError(f"{what}: {path} does not exist")
    has_parts = path.suffix.lower() != ".npz" and part in read_parts(path)
    return read_images(path, part=part if has_parts else None)


def _labelled(images: Images, what: str) -> LabelledImages:
    if images.labels is None:
        raise CommandError(
            f"{what} has no labels: the dataset classifier needs labelled images "
            "(--classifier-data), or use --extractor inception-v3-compat"
        )
    return LabelledImages(pixels=images.pixels, labels=images.labels)


def _print_result(result: EvaluationResult, protocol: Protocol) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "bias-corrected", "± s.e.", _interval_heading(protocol)):
        justify: Literal["left", "right"] = "left" if heading == "metric" else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for name, found in result.values.items():
        table.add_row(
            f"{result.labels[name]} {arrow(name)}".replace("[", "\\["),
            _number(found.value),
            _number(found.corrected),
            _number(found.standard_error),
            "–" if found.interval is None else " … ".join(map(_number, found.interval)),
        )
    console.print(table)
    for name, found in result.values.items():
        if found.reason:
            _say(f"{result.labels[name]}: {found.reason}")
    _say(f"{protocol.num_images} images against {protocol.reference.count} real ones")
    _say(f"protocol {result.fingerprint}")


def _interval_heading(protocol: Protocol) -> str:
    return f"{protocol.uncertainty['level']:.0%} interval"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _record(result: EvaluationResult, protocol: Protocol, extractor: Extractor) -> dict[str, Any]:
    record: dict[str, Any] = {
        "fingerprint": result.fingerprint,
        "protocol": protocol.to_record(),
        "metrics": {
            name: {"label": result.labels[name], **found.to_record()}
            for name, found in result.values.items()
        },
    }
    if isinstance(extractor, ClassifierExtractor):
        record["classifier"] = {"test_accuracy": extractor.trained.test_accuracy}
    return record


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _progress() -> Progress:
    """Return progress bars on the error stream, shown on a terminal only."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


if __name__ == "__main__":
    sys.exit(main())
