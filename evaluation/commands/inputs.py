"""Opens what a command names, images, references and extractors, and says what is wrong with it."""

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from evaluation.commands.addresses import CommandError, read_json
from evaluation.commands.report import note, warn
from evaluation.features.base import Extractor
from evaluation.features.cache import FeatureCache
from evaluation.features.classifier import (
    LabelledImages,
    TrainedClassifier,
    prepare_classifier,
    read_classifier,
    with_test_accuracy,
)
from evaluation.features.inception import find_weights
from evaluation.features.registry import build_extractor, pixels_wanted
from evaluation.imagesets.atomic import replacing_path, sha256_of
from evaluation.imagesets.decoding import Lossy
from evaluation.imagesets.in_memory import ImageError, read_parts
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.texts import caption_facts
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import INCEPTION, ExtractorSpec
from evaluation.protocols.extractors import EXTRACTORS, get_extractor, has_known_weights
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import Protocol
from evaluation.scoring.published import has_images_too
from evaluation.scoring.references import (
    FOLDER,
    SavedReference,
    SavedReferenceError,
    is_statistics,
    load_reference,
    read_statistics,
)
from evaluation.scoring.requirements import Accuracy


@dataclass(frozen=True)
class PreparedExtractor:
    """An extractor, the file or folder its weights lie in, and facts for people."""

    extractor: Extractor
    weights: Path | None
    facts: dict[str, Any] = field(default_factory=dict)


def feature_cache(options: argparse.Namespace) -> FeatureCache:
    """Return the cache that the options name."""
    return FeatureCache(options.cache, max_bytes=options.cache_bytes)


def open_set(
    path: Path,
    what: str,
    *,
    part: str | None = None,
    labelled: bool = True,
    lossy: Lossy = "accept",
) -> ImageStream:
    """Return the images at ``path``; of a source with parts, the ``part`` that is meant.

    What is left out, and what captions there are, is told on the error stream.
    """
    if not path.exists():
        raise CommandError(f"{what}: {path} does not exist")
    images = open_images(path, part=part_of(path, part), labelled=labelled, lossy=lossy)
    for line in images.left_out:
        warn(f"{what}: left out {line}")
    if images.captions:
        note(f"{what}: {caption_facts(images.captions)}")
    return images


def part_of(path: Path, part: str | None) -> str | None:
    """Return the part that is meant of a source, None of one that does not have it."""
    return part if part is not None and part in _parts(path) else None


def _parts(path: Path) -> tuple[str, ...]:
    try:
        return read_parts(path)
    except ImageError:  # of a kind or layout without parts; opening it says so if it is wrong
        return ()


def open_reference(
    options: argparse.Namespace,
    extractor: str,
    *,
    statistics: bool = False,  # of a file that holds both, rather than the images
) -> ImageStream | SavedReference:
    """Return real images, or what was saved under a name, or published statistics in a file."""
    path = Path(options.reference)
    if path.exists():
        if is_statistics(path) and (statistics or not has_images_too(path)):
            return read_statistics(path, extractor_name=extractor)
        return open_set(path, "reference", part=options.reference_part)
    if path.name != options.reference or not (options.cache / FOLDER).is_dir():
        raise CommandError(f"reference: {options.reference} does not exist")
    try:
        return load_reference(options.cache, options.reference)
    except SavedReferenceError as error:
        raise CommandError(f"reference: {options.reference} does not exist; {error}") from error


def open_held_out(options: argparse.Namespace) -> ImageStream | None:
    """Return the held-out images, if any were named."""
    if options.held_out is None:
        return None
    return open_set(options.held_out, "--held-out", part="test")


def prepare_extractor(
    name: str,
    options: argparse.Namespace,
    reference: ImageStream | SavedReference,
    progress: Progress,
    *,
    keep: bool = False,
) -> PreparedExtractor:
    """Return the extractor, its weights found, downloaded or trained.

    ``keep`` copies a weights file into the cache, under its sha256.
    """
    spec = get_extractor(name)
    _refuse_unused(spec, options)
    weights: Path | None = options.weights
    facts: dict[str, Any] = {}
    if spec.trained_on and weights is None:
        trained = _train_classifier(spec, options, reference, progress)
        weights, facts = trained.weights, {"test_accuracy": trained.test_accuracy}
    if spec.known_weights and weights is None:
        weights = find_weights(options.cache)
    extractor = build_extractor(
        name,
        weights=weights,
        cache=options.cache,
        device=options.device,
        reference=_pixels(spec, reference),
        compile_backend=_compile_backend(spec, options),
    )
    if spec.known_weights and weights is not None:
        digest = extractor.weights_sha256
        facts = {"weights_file": weights.name, "known_weights": has_known_weights(name, digest)}
    if keep and weights is not None and weights.is_file() and not spec.trained_on:
        weights = keep_weights(weights, options.cache, name, extractor.weights_sha256)
    return PreparedExtractor(extractor, weights, facts)


def _refuse_unused(spec: ExtractorSpec, options: argparse.Namespace) -> None:
    """Refuse files that the extractor would never look at."""
    name, weights, data = spec.name, options.weights, options.classifier_data
    if weights is not None and not spec.has_weights:
        raise CommandError(f"--weights: expected none, as {name} has none; got {weights}")
    if data is not None and not spec.trained_on:
        raise CommandError(f"--classifier-data: expected none, as {name} trains none; got {data}")
    if weights is not None and data is not None:
        raise CommandError("expected --weights or --classifier-data, got both")


def _compile_backend(spec: ExtractorSpec, options: argparse.Namespace) -> str | None:
    """Return what compiles the network, if that was asked for and saves time here."""
    if not options.compile:
        return None
    if not spec.is_compiled:
        compiled = " or ".join(name for name, each in EXTRACTORS.items() if each.is_compiled)
        raise CommandError(
            f"--compile: expected {compiled}, the only one compiled; got {spec.name}"
        )
    if not options.device.startswith("cuda"):
        raise CommandError(f"--compile: expected a cuda device, got {options.device}")
    if find_spec("triton") is None:
        raise CommandError("--compile: expected the package triton, got none")
    return "inductor"


def _pixels(spec: ExtractorSpec, reference: ImageStream | SavedReference) -> np.ndarray | None:
    """Return the reference's pixels where an extractor is made from them, else a few to look at."""
    if isinstance(reference, SavedReference):
        shape, of_pixels = reference.facts.shape, spec.made_of == "pixels"
        return None if shape is None or of_pixels else np.zeros((1, *shape), np.uint8)
    return pixels_wanted(spec.name, reference)


def _train_classifier(
    spec: ExtractorSpec,
    options: argparse.Namespace,
    reference: ImageStream | SavedReference,
    progress: Progress,
) -> TrainedClassifier:
    train, what = reference, "--reference"
    if options.classifier_data:
        train = open_set(options.classifier_data, "--classifier-data", part="train")
        what = "--classifier-data"
    of_channels = spec.trained_on == "channels"
    if isinstance(train, SavedReference):
        raise CommandError(
            f"{spec.name} needs --weights or --classifier-data beside a saved reference"
        )
    if of_channels and not options.classifier_data:
        raise CommandError(
            f"{spec.name} needs --classifier-data: the labelled grey images it stacks"
        )
    return trained_classifier(
        options.cache,
        labelled(train, what),
        _test_images(spec, options),
        len(train.classes),
        progress,
    )


def classifier_accuracy(
    spec: ExtractorSpec, weights: Path | None, options: argparse.Namespace
) -> Accuracy | None:
    """Return how often a classifier is right on held-out images, None where none have labels."""
    test = _test_images(spec, options)
    if test is None or weights is None:
        return None
    share = with_test_accuracy(read_classifier(weights), test).test_accuracy
    assert share is not None, "there are test images"
    return Accuracy.on(test.labels, share)


def _test_images(spec: ExtractorSpec, options: argparse.Namespace) -> LabelledImages | None:
    """Return labelled images that a classifier was not trained on, if there are any."""
    held_out = None
    if spec.trained_on != "channels":
        held_out = open_held_out(options)
    # What is held out of a stacked dataset is stacked: its classifier is of single grey images.
    elif options.classifier_data and "test" in _parts(options.classifier_data):
        held_out = open_set(options.classifier_data, "--classifier-data", part="test")
    has_labels = held_out is not None and held_out.labels is not None
    return labelled(held_out, "--held-out") if held_out is not None and has_labels else None


def trained_classifier(
    folder: Path,
    train: LabelledImages,
    test: LabelledImages | None,
    num_classes: int,
    progress: Progress,
) -> TrainedClassifier:
    """Return the classifier of ``train``, trained now or found in the folder."""
    task = progress.add_task("training the classifier", total=1.0)
    return prepare_classifier(
        folder,
        train,
        test=test,
        num_classes=num_classes,
        on_progress=lambda share: progress.update(task, completed=share),
    )


def labelled(images: ImageStream, what: str) -> LabelledImages:
    """Return all images of a stream with their labels."""
    if images.labels is None:
        raise CommandError(
            f"{what} has no labels: the dataset classifier needs labelled images "
            f"(--classifier-data), or use --extractor {INCEPTION}"
        )
    return LabelledImages(pixels=np.concatenate(list(images.chunks())), labels=images.labels)


def keep_weights(weights: Path, folder: Path, name: str, digest: str) -> Path:
    """Return a copy of a weights file in the folder, whole and known by its sha256."""
    kept = folder / f"{name.replace('/', '-')}-{digest[:16]}.pth"
    if not kept.exists() or sha256_of(kept) != digest:
        with replacing_path(kept) as part:
            shutil.copyfile(weights, part)
    return kept


def read_protocol(source: Path | str) -> Protocol:
    """Return the protocol in a file or at an address: alone, part of a result, or a site's answer."""
    record = read_json(source)
    stated = record.get("fingerprint") if isinstance(record, Mapping) else None
    for name in _WITHIN:
        if isinstance(record, Mapping) and name in record:
            record = record[name]
    try:
        protocol = Protocol.from_record(record)
    except ProtocolError as error:
        raise CommandError(f"{source} holds no protocol: {error}") from error
    if stated not in (None, protocol.fingerprint()):
        raise CommandError(
            f"{source}: the protocol's fingerprint is {protocol.fingerprint()}, it says {stated}"
        )
    return protocol


_WITHIN = ("protocol", "record")  # where a result, or a site's answer, has the protocol's record


def prompts_beside(source: Path | str) -> PromptSet | None:
    """Return the prompts that lie beside a protocol in its file, None if there are none."""
    record = read_json(source)
    is_beside = isinstance(record, Mapping) and any(name in record for name in _WITHIN)
    if not is_beside or record.get("prompts") is None:
        return None
    try:
        return PromptSet.from_record(record["prompts"])
    except ProtocolError as error:
        raise CommandError(f"{source} holds no prompts: {error}") from error
