"""The command `admit`, and the admission test of an extractor on real images."""

import argparse

import numpy as np
from rich.progress import Progress

from evaluation.commands.addresses import CommandError
from evaluation.commands.inputs import (
    PreparedExtractor,
    classifier_accuracy,
    open_reference,
    prepare_extractor,
    read_protocol,
)
from evaluation.commands.report import print_admission, progress, tell_lossy, write_json
from evaluation.commands.statuses import EXIT_DIFFERENT
from evaluation.imagesets.opening import ImageStream
from evaluation.imagesets.splits import choose
from evaluation.protocols.extractor_specs import INCEPTION
from evaluation.protocols.extractors import get_extractor
from evaluation.protocols.record import Protocol
from evaluation.scoring.admission import MIN_COUNT, Admission, admit as admit_extractor
from evaluation.scoring.checks import check_digest, check_extractor, check_split
from evaluation.scoring.references import SavedReference
from evaluation.scoring.requirements import judged


def admit(options: argparse.Namespace) -> int:
    """Put an extractor, or a protocol with it, to the admission test; the status is 1 if it fails."""
    protocol = read_protocol(options.protocol) if options.protocol else None
    name = _extractor_name(options, protocol)
    reference = open_reference(options, name)
    with progress() as bars:
        prepared = prepare_extractor(name, options, reference, bars)
        if protocol is not None:
            check_extractor(protocol, prepared.extractor)
            _check_reference(protocol, reference)
        found = admission(prepared, reference, options, bars, options.num_images, protocol)
    if options.json:
        write_json(options.json, found.to_record())
    tell_lossy(reference, "reference")
    print_admission(found)
    return 0 if found.passed else EXIT_DIFFERENT


def _extractor_name(options: argparse.Namespace, protocol: Protocol | None) -> str:
    if protocol is None:
        return options.extractor or INCEPTION
    name = protocol.extractor.name
    if options.extractor not in (None, name):
        raise CommandError(f"--extractor: the protocol's is {name}, got {options.extractor}")
    return name


def _check_reference(protocol: Protocol, reference: ImageStream | SavedReference) -> None:
    if isinstance(reference, ImageStream):
        check_split("reference", protocol.reference, reference)
        check_digest("reference", protocol.reference, reference.digest())


def admission(
    prepared: PreparedExtractor,
    reference: ImageStream | SavedReference,
    options: argparse.Namespace,
    bars: Progress,
    count: int,
    protocol: Protocol | None = None,
) -> Admission:
    """Return what the admission test of an extractor finds, at most ``count`` images on each side.

    Of a protocol that scores fewer images it is on as many as that: what is told apart on a
    thousand images may not be on a hundred.
    """
    if isinstance(reference, SavedReference):
        raise CommandError("the admission test needs images, got a saved reference")
    if reference.count is None or reference.count < 2 * MIN_COUNT:
        raise CommandError(f"the admission test needs 4 images, got {reference.count}")
    if protocol is not None:
        count = max(MIN_COUNT, min(count, protocol.num_images))
    task = bars.add_task("admission test", total=1.0)
    chosen = choose(reference.count, min(2 * count, reference.count), seed=0)
    found = admit_extractor(
        prepared.extractor,
        np.concatenate(list(reference.chunks(chosen))),
        labels=None if reference.labels is None else reference.labels[chosen],
        count=count,
        on_progress=lambda share: bars.update(task, completed=share),
    )
    spec = get_extractor(prepared.extractor.name)
    is_classifier = spec.trained_on != "" and not spec.implementation
    return judged(
        found,
        is_classifier=is_classifier,
        accuracy=classifier_accuracy(spec, prepared.weights, options) if is_classifier else None,
        protocol=protocol,
    )
