"""How an experiment begins: entries with their jobs, and that others are told of it."""

from collections.abc import Iterable, Iterator

from django.dispatch import Signal

from accounts import audit
from accounts.models import AuditEvent, User
from experiments.models import Entry, Experiment, Run, SampleSet, Search
from experiments.ownership import require_change
from experiments.submission import pipelines
from experiments.submission.joining import JoiningSpec
from experiments.submission.reading import EntrySpec, SearchSpec
from generators.specs.options import parse
from generators.specs.pipelines.options import PipelineSampler
from jobs import lifecycle
from jobs.models import GB
from jobs.settled import settled

OF_SEARCH = ("objective", "method", "options", "given", "trials", "runs", "seed")
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
        search=None if spec.search is None else _search_of(experiment, spec.search),
        trial=spec.trial,
    )
    queue_jobs(
        entry, experiment.seeds if spec.search is None else experiment.seeds[: spec.search.runs]
    )
    return entry


def _search_of(experiment: Experiment, spec: SearchSpec) -> Search:
    """Return the row of a search, written with the first of its trials."""
    assert spec.protocol is not None, "an objective that nothing measures is an error"
    fields = {name: getattr(spec, name) for name in OF_SEARCH}
    found, _ = Search.objects.get_or_create(
        experiment=experiment,
        label=spec.label,
        defaults={"protocol_id": spec.protocol, **fields},
    )
    return found


def queue_jobs(entry: Entry, seeds: Iterable[int]) -> None:
    """Write an entry's jobs for each seed, and queue them."""
    experiment = entry.experiment
    for seed in seeds:
        for job in _jobs_of(entry, seed):
            job.memory_gb = max(job.memory_gb, experiment.memory_gb)
            job.save()
            lifecycle.enqueue(job)


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
