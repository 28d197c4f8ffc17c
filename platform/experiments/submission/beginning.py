"""How an experiment begins: entries with their jobs, and that others are told of it."""

from collections.abc import Iterator

from django.dispatch import Signal

from accounts import audit
from accounts.models import AuditEvent, User
from experiments.models import Entry, Experiment, Run, SampleSet
from experiments.ownership import require_change
from experiments.submission import pipelines
from experiments.submission.joining import JoiningSpec
from experiments.submission.reading import EntrySpec
from generators.specs.options import parse
from generators.specs.pipelines.options import PipelineSampler
from jobs import lifecycle
from jobs.models import GB
from jobs.settled import settled

SEEDS_PER_RUN = 10_000_000  # sample seeds of different training seeds never overlap

# In the transaction of a submission: experiment; user, None of a command's; notify, None = not said.
submitted = Signal()


@settled()
def join_experiment(spec: JoiningSpec, *, user: User | None) -> Experiment:
    """Write pipelines into an experiment that is there, with its seeds, and ring for them.

    Raises:
        PermissionDenied: if it is somebody else's.
    """
    experiment = spec.experiment
    if user is not None:
        require_change(user, experiment)
    position = experiment.entries.count()
    for place, entry in enumerate(spec.entries, start=position):
        add_entry(experiment, entry, position=place)
    labels = ", ".join(entry.label for entry in spec.entries)
    audit.record(user, AuditEvent.Action.SUBMITTED, experiment, f"pipelines {labels}"[:200])
    return experiment


def add_entry(experiment: Experiment, spec: EntrySpec, *, position: int) -> Entry:
    """Write an entry and its jobs for each seed, and queue them."""
    entry = Entry.objects.create(
        experiment=experiment,
        kind=spec.kind,
        label=spec.label,
        algorithm=spec.algorithm,
        config=spec.config,
        samplers=spec.samplers,
        position=position,
    )
    for seed in experiment.seeds:
        for job in _jobs_of(entry, seed):
            job.memory_gb = max(job.memory_gb, experiment.memory_gb)
            job.save()
            lifecycle.enqueue(job)
    return entry


def _jobs_of(entry: Entry, seed: int) -> Iterator[Run | SampleSet]:
    """Yield the unwritten jobs of a seed."""
    if entry.kind != Entry.Kind.PIPELINE:
        yield Run(entry=entry, seed=seed)
        return
    protocols = entry.experiment.protocols.all()
    for sampler in entry.samplers:
        yield SampleSet(
            entry=entry,
            seed=seed,
            sampler=sampler,
            sampler_label=pipelines.label_of(
                parse(PipelineSampler, sampler), entry.config.get("card")
            ),
            count=max(protocol.num_images for protocol in protocols),
            first_seed=seed * SEEDS_PER_RUN,
            memory_gb=pipelines.weight_bytes(entry.config, entry.config.get("card")) // GB,
        )
