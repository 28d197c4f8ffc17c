"""Takes in samples that were made elsewhere: their files are kept, a worker reads them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from accounts import audit
from accounts.models import AuditEvent, User
from catalog import stored
from catalog.engine import RegistrationError, run_evaluation, silent
from catalog.models import Protocol
from catalog.stored import StoredFile, name_of
from evaluation.imagesets.atomic import replacing_path, sha256_of
from experiments import controls, services
from experiments.models import Entry, Experiment, SampleSet
from experiments.submission.external import ExternalSpec, check_files, suffix_of
from experiments.submission.specification import SpecificationError
from jobs import lifecycle
from jobs.models import Queue
from jobs.settled import settled

FOLDER = "submissions"  # of the data folder
SAMPLER = "handed in"  # as the label of the sampler: which one it was is for others to say


@dataclass(frozen=True)
class GivenFile:
    """A file that is handed in: where it lies now, and what its owner calls it."""

    path: Path
    name: str


def findings_of(path: Path, protocols: Sequence[Protocol], folder: Path) -> list[str]:
    """Return what is odd about a file that is to be handed in; the folder is written into.

    Raises:
        RegistrationError: if the protocols cannot score it.
    """
    arguments = ["lint", str(path), *protocol_options(protocols, folder)]
    try:
        found = run_evaluation(arguments, silent, what=path.name)
    except RegistrationError as error:
        once = str(error).replace(f"{path.name}: {path.name}", path.name, 1)
        raise RegistrationError(once) from error
    return list(found["findings"])


def protocol_options(protocols: Sequence[Protocol], folder: Path) -> list[str]:
    """Return the options by which the engine is told of protocols, written into the folder."""
    options = []
    for place, protocol in enumerate(protocols):
        prompts = None if protocol.prompt_set is None else protocol.prompt_set.record
        file = folder / f"{place}.json"
        file.write_text(json.dumps({"protocol": protocol.record, "prompts": prompts}), "utf-8")
        options += ["--protocol", str(file)]
    return options


def submit_external(
    spec: ExternalSpec, files: Sequence[GivenFile], *, user: User | None
) -> tuple[Entry, bool]:
    """Return the external entry of these files, one for each seed, and whether it is new.

    The same manifest with the same files is the same entry. What the files hold is read by a worker,
    so that what is wrong with them is said by their sample sets.

    Raises:
        SpecificationError: if files are refused or there twice, or a name is taken; nothing is
            written.
        BucketError: if a bucket does not take the files.
    """
    check_files([file.name for file in files])
    digests = [sha256_of(file.path) for file in files]
    _check_distinct(digests)
    sets = [
        {"file": _shown(file.name), "sha256": digest}
        for file, digest in zip(files, digests, strict=True)
    ]
    config = {"manifest": spec.manifest.to_record(), "sets": sets}
    if found := _submitted(spec, config):
        return found, False
    kept = [_keep(file, digest, user) for file, digest in zip(files, digests, strict=True)]
    try:
        return _write(spec, config, kept, user=user), True
    except IntegrityError as error:  # somebody else was faster
        if found := _submitted(spec, config):
            return found, False
        raise SpecificationError({"name": "the name was taken a moment ago"}) from error


def _shown(name: str) -> str:
    """Return a file's name as rows can keep it."""
    return (name if name.isprintable() else ascii(name))[-100:]


def _check_distinct(digests: Sequence[str]) -> None:
    for index, digest in enumerate(digests):
        if (first := digests.index(digest)) < index:
            message = f"the same content as files.{first}; expected other images for each seed"
            raise SpecificationError({f"files.{index}": message})


def _submitted(spec: ExternalSpec, config: dict[str, Any]) -> Entry | None:
    """Return the entry if it is there already.

    Raises:
        SpecificationError: if its name, or that of its experiment, is another's.
    """
    experiment = spec.experiment or Experiment.objects.filter(name=spec.name).first()
    if experiment is None:
        return None
    found = experiment.entries.filter(label=spec.label).first()
    if found is not None and found.kind == Entry.Kind.EXTERNAL and found.config == config:
        return found
    if spec.experiment is None:
        message = f"an experiment is named {spec.name!r} already; expected another, or to join it"
        raise SpecificationError({"name": message})
    if found is not None:
        message = f"{experiment} has another entry {spec.label!r}; expected another label"
        raise SpecificationError({"label": message})
    return None


def _keep(file: GivenFile, digest: str, user: User | None) -> Path:
    """Keep a file under the sha256 of its content; one that is there stays as it is."""
    path: Path = settings.DATA_DIR / FOLDER / f"{digest}{suffix_of(file.name)}"
    if not path.exists():
        with replacing_path(path) as temporary:
            shutil.copyfile(file.path, temporary)
    stored.keep(path, StoredFile.Kind.SUBMISSION, owner=user)
    return path


@settled()
def _write(
    spec: ExternalSpec, config: dict[str, Any], kept: Sequence[Path], *, user: User | None
) -> Entry:
    experiment = spec.experiment or _new_experiment(spec, len(kept), user)
    entry = Entry.objects.create(
        experiment=experiment,
        kind=Entry.Kind.EXTERNAL,
        label=spec.label,
        config=config,
        position=experiment.entries.count(),
    )
    for seed, path in enumerate(kept):
        sample_set = SampleSet.objects.create(
            entry=entry,
            seed=seed,
            source=name_of(path),
            sampler_label=SAMPLER,
            count=services.images_needed(spec.protocols),  # until it is read
            queue=Queue.DEFAULT,
        )
        lifecycle.enqueue(sample_set)
    audit.record(user, AuditEvent.Action.SUBMITTED, experiment, f"external entry {spec.label}")
    return entry


def _new_experiment(spec: ExternalSpec, sets: int, user: User | None) -> Experiment:
    """Write an experiment in which nothing is trained, with its controls."""
    experiment = Experiment.objects.create(
        name=spec.name, dataset=spec.dataset, seeds=list(range(sets)), created_by=user
    )
    experiment.protocols.set(spec.protocols)
    for position, control in enumerate(controls.controls_of(spec.dataset, spec.protocols)):
        services.add_control(experiment, control, position=position)
    return experiment
