"""Reads contact sheets as their images are evaluated: classes, nearest training images."""

from dataclasses import asdict
from typing import Any

import numpy as np
from django.forms import model_to_dict

from catalog import stored
from catalog.models import StoredFile
from evaluation.features.base import Extractor
from evaluation.imagesets.opening import ImageStream
from evaluation.imagesets.writing import grid_png
from evaluation.scoring.sheets import read_sheet
from experiments.models import Evaluation, SheetReading
from experiments.work.real_images import feature_cache, open_split
from jobs.execution import Heartbeat

IMAGES, COLUMNS = 100, 10  # of a contact sheet
OWN = ("id", "evaluation")  # of a reading, the rest is what was read


def read(
    evaluation: Evaluation,
    extractor: Extractor,
    generated: ImageStream,
    reference: ImageStream,
    heartbeat: Heartbeat,
) -> SheetReading | None:
    """Return what is seen on the sheet of a sample set, and draw the nearest training images.

    `reference` is the split that the protocol compares with, opened already. None where features
    are not finite.
    """
    protocol = evaluation.protocol.parsed()
    is_train = protocol.reference.split == "train"
    train = reference if is_train else open_split(evaluation.protocol.dataset, "train")
    found = read_sheet(
        protocol,
        extractor,
        generated,
        train,
        count=IMAGES,
        cache=feature_cache(),
        should_stop=heartbeat.should_stop,
    )
    if found is None:
        return None
    labels = generated.labels
    asked = None if labels is None else labels[: len(found.nearest)].tolist()
    reading = SheetReading(evaluation=evaluation, asked=asked, **asdict(found))
    _draw(reading, train)
    return reading


def known(evaluation: Evaluation) -> SheetReading | None:
    """Return what was read of the very same images under the protocol, None if nothing was."""
    same = SheetReading.objects.filter(
        evaluation__protocol=evaluation.protocol,
        evaluation__sample_set__sha256=evaluation.sample_set.sha256,
    ).first()
    if same is None:
        return None
    fields: dict[str, Any] = model_to_dict(same, exclude=OWN)
    reading = SheetReading(evaluation=evaluation, **fields)
    _draw(reading, open_split(evaluation.protocol.dataset, "train"))
    return reading


def _draw(reading: SheetReading, train: ImageStream) -> None:
    """Draw the nearest training images in the order of the sheet, and keep the picture."""
    places, order = np.unique(np.array(reading.nearest), return_inverse=True)
    pixels = np.concatenate(list(train.chunks(places)))[order]
    grid_png(pixels, COLUMNS, reading.path)
    owner = reading.evaluation.sample_set.entry.experiment.created_by
    stored.keep(reading.path, StoredFile.Kind.PICTURE, owner=owner)


def keep(reading: SheetReading | None) -> None:
    """Write what was read in place of what an attempt of before has read."""
    if reading is not None:
        SheetReading.objects.filter(evaluation=reading.evaluation).delete()
        reading.save()
