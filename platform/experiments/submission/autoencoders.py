"""A shared autoencoder as people name it: `run 12`, or the folder of that run's last checkpoint."""

import re
from typing import Any

from catalog.models import Dataset
from experiments import asked
from experiments.models import Run
from generators.specs.latent import LatentOptions
from generators.specs.options import parse
from jobs.models import Status

EXAMPLE = "a completed run of a latent model, such as run 12, or its last checkpoint's folder"
RUN = re.compile(r"(?:run\s*|/?runs/)?(\d{1,18})/?", re.IGNORECASE)  # or its page
FOLDER = re.compile(r"(runs/(\d{1,18})/ckpt-\d{1,18})/?")  # in the data folder


def find(text: str, config: LatentOptions, dataset: Dataset) -> str:
    """Return the folder, in the data folder, of the checkpoint whose autoencoder is meant.

    Raises:
        ValueError: if there is none, or it is of no use for this configuration on this dataset.
    """
    folder, number = _parts(text.strip())
    runs = Run.objects.select_related("entry__experiment__dataset")
    run = runs.filter(pk=number).first()
    if run is None:
        raise ValueError(f"expected {EXAMPLE}; there is no run {number}")
    if problem := _problem(run, config, dataset):
        raise ValueError(f"expected {EXAMPLE}; run {run.pk} {problem}")
    last = run.checkpoints.last()
    if last is None or not last.is_kept:
        raise ValueError(f"expected {EXAMPLE}; the weights of run {run.pk} were deleted")
    if folder not in ("", last.path):
        raise ValueError(f"expected {EXAMPLE}; that of run {run.pk} is {last.path}")
    return last.path


def _parts(text: str) -> tuple[str, int]:
    """Return the folder that is named, "" for none, and the key of the run."""
    if found := FOLDER.fullmatch(text):
        return found[1], int(found[2])
    if found := RUN.fullmatch(text):
        return "", int(found[1])
    raise ValueError(f"expected {EXAMPLE}, got {text!r}"[:300])


def _problem(run: Run, config: LatentOptions, dataset: Dataset) -> str:
    """Return what is wrong with a run whose autoencoder is wanted, "" if nothing is."""
    theirs = _config_of(run)
    if theirs is None:
        return f"is of {run.entry.algorithm}"
    trained_on = run.entry.experiment.dataset
    if trained_on != dataset:
        return f"is of {_in_words(trained_on)}, not of {_in_words(dataset)}"
    if run.status != Status.COMPLETED:
        return f"is {run.status}"
    if theirs.conditional != config.conditional and asked.conditions_of(dataset).given:
        return f"was trained with conditional {str(theirs.conditional).lower()}"
    shape = (dataset.channels, dataset.resolution, dataset.resolution)
    misfit = config.misfit(vars(theirs), shape)
    return f"does not fit: {misfit}" if misfit else ""


def _config_of(run: Run) -> LatentOptions | None:
    spec = run.entry.spec
    config: Any = None if spec is None else parse(spec.config, run.entry.config)
    return config if isinstance(config, LatentOptions) else None


def _in_words(dataset: Dataset) -> str:
    side = dataset.resolution
    return f"{dataset} ({dataset.channels}x{side}x{side})"


def seconds_of(run: Run) -> float:
    """Return the device-seconds that a run's autoencoder cost, wherever it was trained.

    Of a run of an earlier version, which did not measure them, it is the part of its budget.
    """
    config = _config_of(run)
    if run.autoencoder_seconds is not None or config is None:
        return run.autoencoder_seconds or 0.0
    return config.autoencoder_part * run.device_seconds
