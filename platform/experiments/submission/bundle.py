"""A run as it can be trained and drawn again without the site: what `generators reproduce` reads."""

from typing import Any

from experiments import asked
from experiments.models import Entry, Run, SampleSet
from experiments.tags.asking import words_of
from generators.specs.bundle import FORMAT
from generators.specs.versions import UNKNOWN


def refusal(run: Run) -> str:
    """Return why a run has no bundle, in a sentence; "" where it has one."""
    if run.entry.config.get("autoencoder"):
        return "It takes another run's autoencoder, which a bundle does not hold."
    if asked.learns_words(run.entry.experiment.dataset):
        return "It is asked by captions, which a bundle does not hold."
    return ""


def file_name(run: Run) -> str:
    """Return what the bundle's file is called."""
    return f"run-{run.pk}.json"


def command_of(run: Run) -> str:
    """Return the command line that reproduces the run from its bundle."""
    dataset = run.entry.experiment.dataset
    return (
        f"python -m generators reproduce {file_name(run)} "
        f"--data DATA_DIR/datasets/{dataset.folder.name} --out run-{run.pk}"
    )


def bundle_of(run: Run) -> dict[str, Any]:
    """Return everything that the run's images follow from, and digests of what came out.

    Raises:
        ValueError: if it has no bundle; the message says why.
    """
    if reason := refusal(run):
        raise ValueError(reason)
    experiment, entry = run.entry.experiment, run.entry
    sets = run.sample_sets.filter(entry=entry).order_by("pk")
    images, seconds = experiment.budget_images, experiment.budget_seconds
    return {
        "trilemma_bundle": FORMAT,
        "run": run.pk,
        "experiment": experiment.name,
        "tags": words_of(experiment.tags.all()),
        "label": entry.label,
        "command": command_of(run),
        "algorithm": entry.algorithm,
        "config": entry.config,
        "seed": run.seed,
        "budget": {"images": images} if images is not None else {"device_seconds": seconds},
        "dataset": _dataset(run.entry),
        "environment": run.environment,
        "commit": run.environment.get("commit", UNKNOWN),
        "samples": [_samples(found) for found in sets],
        "protocols": [
            {"fingerprint": protocol.fingerprint, "record": protocol.record}
            for protocol in experiment.protocols.all()
        ],
    }


def _dataset(entry: Entry) -> dict[str, Any]:
    dataset = entry.experiment.dataset
    names = ("slug", "digest", "train_digest", "test_digest", "resolution", "channels")
    return {name: getattr(dataset, name) for name in names}


def _samples(sample_set: SampleSet) -> dict[str, Any]:
    shares = asked.shares_of(sample_set.entry.experiment)
    return {
        "sampler": sample_set.sampler,
        "count": sample_set.count,
        "first_seed": sample_set.first_seed,
        "shares": None if shares is None else list(shares),
        "sha256": sample_set.sha256,
    }
