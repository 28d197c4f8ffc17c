"""The command `admit`, and the admission test of an extractor on real images."""

import argparse

import numpy as np
from rich.progress import Progress

from evaluation.commands.inputs import (
    CommandError,
    PreparedExtractor,
    open_reference,
    prepare_extractor,
)
from evaluation.commands.report import print_admission, progress, write_json
from evaluation.commands.statuses import EXIT_DIFFERENT
from evaluation.imagesets.opening import ImageStream
from evaluation.imagesets.splits import choose
from evaluation.scoring.admission import Admission, admit as admit_extractor
from evaluation.scoring.references import SavedReference


def admit(options: argparse.Namespace) -> int:
    """Put an extractor to the admission test; the status is 1 if it fails."""
    reference = open_reference(options, options.extractor)
    with progress() as bars:
        prepared = prepare_extractor(options.extractor, options, reference, bars)
        found = admission(prepared, reference, options.num_images, bars)
    if options.json:
        write_json(options.json, found.to_record())
    print_admission(found)
    return 0 if found.passed else EXIT_DIFFERENT


def admission(
    prepared: PreparedExtractor, reference: ImageStream | SavedReference, count: int, bars: Progress
) -> Admission:
    """Return what the admission test of an extractor finds, ``count`` images on each side."""
    if isinstance(reference, SavedReference):
        raise CommandError("the admission test needs images, got a saved reference")
    task = bars.add_task("admission test", total=1.0)
    if reference.count is None or reference.count < 4:
        raise CommandError(f"the admission test needs 4 images, got {reference.count}")
    chosen = choose(reference.count, min(2 * count, reference.count), seed=0)
    return admit_extractor(
        prepared.extractor,
        np.concatenate(list(reference.chunks(chosen))),
        labels=None if reference.labels is None else reference.labels[chosen],
        count=count,
        on_progress=lambda share: bars.update(task, completed=share),
    )
