"""Part of the bridge to torch: what a worker does for samples that were made elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.in_memory import Images
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.imagesets.sources import ImageError
from evaluation.protocols.checking import ProtocolError
from evaluation.scoring.checks import EvaluationError
from evaluation.scoring.handed_in import Wanted, read_handed_in
from experiments import asked, work_files
from experiments.models import SampleSet
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError


def read(sample_set: SampleSet, heartbeat: Heartbeat) -> tuple[Images, dict[str, Any]]:
    """Return the images of a set that was handed in, and what its row keeps of it.

    Raises:
        JobError: if they cannot be read, or cannot be scored as the protocols want.
    """
    experiment = sample_set.entry.experiment
    given = sample_set.entry.config["sets"][sample_set.seed]
    path = _file(sample_set, given["sha256"])
    train, test = (_split(sample_set, split) for split in ("train", "test"))

    def keep_going() -> None:
        heartbeat.report(drawn=0)
        heartbeat.check()

    with _saying(path.name, given["file"]):
        wanted = Wanted.by(
            [row.parsed() for row in experiment.protocols.all()],
            asked.prompt_set_of(experiment),
            classes=experiment.dataset.classes,
        )
        found = read_handed_in(path, wanted, train=train, held_out=test, keep_going=keep_going)
        seeds = _check_seeds(sample_set, len(found.images.pixels))
    sample_set.count = len(found.images.pixels)
    facts = {
        "count": sample_set.count,
        "findings": list(found.findings),
        "provenance": {"said_of_each": {**found.says, "seed": seeds > 0}},
    }
    return found.images, facts


def _file(sample_set: SampleSet, digest: str) -> Path:
    path: Path = work_files.fetched(settings.DATA_DIR / sample_set.source)
    try:
        found = sha256_of(path)
    except OSError as error:
        raise JobError(f"{sample_set.source}: {error.strerror or error}") from error
    if found != digest:
        raise JobError(f"{sample_set.source}: has sha256 {found}, not {digest}")
    return path


def _split(sample_set: SampleSet, split: str) -> ImageStream:
    return open_images(work_files.split_file(sample_set.entry.experiment.dataset, split))


@contextmanager
def _saying(kept: str, name: str) -> Iterator[None]:
    """Turn refusals into failures that call the file what its owner does."""
    try:
        yield
    except (EvaluationError, ImageError, ProtocolError) as error:
        raise JobError(str(error).replace(kept, name)) from error


def _check_seeds(sample_set: SampleSet, count: int) -> int:
    """Return of how many images the manifest says the seed: of all, or of none."""
    manifest = sample_set.entry.manifest
    said = 0 if manifest is None else len(manifest.seeds)
    if said not in (0, count):
        raise ProtocolError("manifest.seeds", f"expected one for each of {count:,}, got {said:,}")
    return said
