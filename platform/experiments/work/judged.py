"""What the discriminator of a GAN says in training of samples and real images, by its own weights."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.imagesets.in_memory import Images
from evaluation.imagesets.opening import open_images
from experiments import work_files
from experiments.models import Entry
from generators.algorithm.contract import Undefined
from generators.trained import verdicts
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import Wanted

logger = logging.getLogger(__name__)


def at_checkpoint(
    entry: Entry,
    generator: LoadedGenerator,
    checkpoint: Path,
    drawn: np.ndarray,
    asked_of: Mapping[str, Any],
) -> dict[str, list[float]]:
    """Return its logits on images that were drawn, and on as many of the test split, in their order.

    {"drawn": …, "real": …}; {} where there is no discriminator of images, or it says what is no
    number. Nothing is drawn at random: a training goes on as if nobody had looked.

    Args:
        entry: what is trained.
        generator: of the checkpoint.
        checkpoint: its folder.
        drawn: (N, C, H, W) uint8.
        asked_of: the labels or captions that they were asked with, as `sampling.draw` takes them.
    """
    if entry.family != "gan":
        return {}
    try:
        network = verdicts.load_discriminator(generator, checkpoint)
    except Undefined as error:
        logger.info("%s: nothing is judged: %s", entry, error)
        return {}
    real = test_images(entry, range(len(drawn)))
    wanted: Wanted = asked_of.get("labels", asked_of.get("captions"))
    said = {
        "drawn": verdicts.logits(generator, network, drawn, wanted),
        "real": verdicts.logits(generator, network, real.pixels, told_of(generator, real)),
    }
    if not all(np.isfinite(logits).all() for logits in said.values()):
        return {}
    return {name: [float(f"{logit:.5g}") for logit in logits] for name, logits in said.items()}


def test_images(entry: Entry, places: range) -> Images:
    """Return images of the test split that follow each other, with what is said of them."""
    dataset = entry.experiment.dataset
    stream = open_images(work_files.split_file(dataset, "test"))
    places = range(places.start, min(places.stop, dataset.test_size))
    pixels = np.concatenate(list(stream.read(np.array(places))))
    labels = None if stream.labels is None else stream.labels[places.start : places.stop]
    said = stream.captions
    captions = None if said is None else said[places.start : places.stop]
    return Images(pixels, labels, stream.classes, captions=captions)


def told_of(generator: LoadedGenerator, images: Images) -> Wanted:
    """Return what real images are, as the model is told it."""
    if not generator.conditions.given:
        return None
    return images.captions if generator.conditions.by_text else images.labels
