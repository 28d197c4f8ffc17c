"""All writing of experiments: submitting, finishing each kind of job, cancelling, retrying."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.audit import Actor
from accounts.models import AuditEvent, User
from catalog.models import Protocol
from experiments import asked, controls
from experiments.models import (
    Checkpoint,
    Entry,
    Evaluation,
    Experiment,
    LossPoint,
    MetricValue,
    Run,
    SampleSet,
    Tag,
)
from experiments.submission import autoencoders
from experiments.submission.beginning import (
    SEEDS_PER_RUN as SEEDS_PER_RUN,
    add_entry,
    join_experiment,
    submitted,
)
from experiments.submission.joining import is_joining, read_joining
from experiments.submission.resubmission import differences
from experiments.submission.specification import ExperimentSpec, SpecificationError, read_experiment
from experiments.tags.asking import words_of
from generators.specs import registry
from jobs import lifecycle
from jobs.models import Job, JobEvent, Queue
from jobs.settled import settled

MAX_LOSS_POINTS = 400  # per run; above that every second one is dropped
LossFigures = tuple[int, float, dict[str, float]]  # images seen, wall seconds, losses
RESUMED = {"exact": "exactly", "approximate": "approximately"}  # as an environment has it


def submit_data(data: Mapping[str, Any], *, user: User | None) -> Experiment:
    """Read and submit an experiment given as plain data, or pipelines that join one.

    Raises:
        SpecificationError: with every wrong field; nothing is written.
        PermissionDenied: if the experiment that is joined is somebody else's.
    """
    if is_joining(data):
        return join_experiment(read_joining(data), user=user)
    return submit_experiment(read_experiment(data), user=user)


def submit_once(data: Mapping[str, Any], *, user: User | None) -> tuple[Experiment, bool]:
    """Return the experiment that plain data describes or joins, and if anything of it is new.

    Raises:
        SpecificationError: with every wrong field; or, if another experiment has the name, with
            everything that differs.
        PermissionDenied: if the experiment that is joined is somebody else's.
    """
    if is_joining(data):
        joining = read_joining(data, again=True)
        if joining.entries:
            join_experiment(joining, user=user)
        return joining.experiment, bool(joining.entries)
    spec = read_experiment(data)
    found = Experiment.objects.filter(name=spec.name).first()
    if found is None:
        return submit_experiment(spec, user=user), True
    if errors := differences(found, spec):
        raise SpecificationError({"name": f"another experiment is named {spec.name!r}", **errors})
    return found, False


@settled()
def submit_experiment(spec: ExperimentSpec, *, user: User | None) -> Experiment:
    """Write an experiment with its entries, queued runs or sets, and controls, and ring for them.

    Raises:
        SpecificationError: if the name is taken.
    """
    if Experiment.objects.filter(name=spec.name).exists():
        raise SpecificationError({"name": f"an experiment is named {spec.name!r} already"})
    experiment = Experiment.objects.create(
        name=spec.name,
        dataset=spec.dataset,
        budget_images=spec.budget_images,
        budget_seconds=spec.budget_seconds,
        seeds=spec.seeds,
        memory_gb=spec.memory_gb,
        created_by=user,
    )
    experiment.protocols.set(spec.protocols)
    Tag.objects.bulk_create(Tag(experiment=experiment, word=word) for word in spec.tags)
    real, *others = controls.controls_of(spec.dataset, spec.protocols)
    add_control(experiment, real, position=0)
    for position, entry_spec in enumerate(spec.entries, start=1):
        add_entry(experiment, entry_spec, position=position)
    for position, control in enumerate(others, start=1 + len(spec.entries)):
        add_control(experiment, control, position=position)
    for entry in experiment.entries.all():
        if entry.has_autoencoder:
            _reconstructed(entry)
    audit.record(user, AuditEvent.Action.SUBMITTED, experiment)
    submitted.send(Experiment, experiment=experiment, user=user, notify=spec.notify)
    return experiment


@transaction.atomic
def change_tags(experiment: Experiment, words: list[str], *, user: Actor) -> bool:
    """Give an experiment these tags and no others; return False where it has them already.

    Its row is locked: of two who change them at once, the later one's words count, all of them.
    """
    Experiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)
    tags = Tag.objects.filter(experiment=experiment)
    before = words_of(tags)
    if words == before:
        return False
    tags.exclude(word__in=words).delete()
    new = [word for word in words if word not in before]
    Tag.objects.bulk_create(Tag(experiment=experiment, word=word) for word in new)
    told = (", ".join(listed) or "none" for listed in (words, before))
    detail = "tags: {}; before: {}".format(*told)
    audit.record(user, AuditEvent.Action.CHANGED, experiment, detail)
    return True


def add_control(experiment: Experiment, control: controls.Control, *, position: int) -> None:
    """Add a row that every board needs: images that no model made, as many as there can be."""
    entry = Entry.objects.create(
        experiment=experiment,
        kind=Entry.Kind.CONTROL,
        label=control.label,
        config={"control": control.kind},
        position=position,
    )
    wanted = images_needed(list(experiment.protocols.all()))
    sample_set = SampleSet.objects.create(
        entry=entry,
        sampler={"name": control.source},
        sampler_label=control.source,
        count=control.available(experiment.dataset, wanted),
        queue=Queue.DEFAULT,
    )
    lifecycle.enqueue(sample_set)


def _reconstructed(entry: Entry) -> Entry:
    """Return the control that shows real images after an entry's autoencoder.

    Experiments of before get it when a training is finished.
    """
    found, _ = Entry.objects.get_or_create(
        experiment=entry.experiment,
        kind=Entry.Kind.CONTROL,
        label=controls.RECONSTRUCTED_BY.format(entry.label),
        defaults={
            "config": {"control": controls.RECONSTRUCTED, "entry": entry.pk},
            "position": entry.experiment.entries.count(),
        },
    )
    return found


def images_needed(protocols: list[Protocol]) -> int:
    return max(protocol.num_images for protocol in protocols)


@transaction.atomic
def record_checkpoint(
    run: Run, *, images_seen: int, path: str, sha256: str, size: int, **known: Any
) -> Checkpoint:
    """Write a checkpoint that is on disk, with `preview` and `verdict`; reported twice it is one row.

    Raises:
        StaleAttempt: if the run no longer belongs to this attempt.
    """
    lifecycle.beat(run)
    checkpoint, created = Checkpoint.objects.update_or_create(
        run=run,
        images_seen=images_seen,
        defaults={"path": path, "sha256": sha256, "bytes": size, **known},
    )
    if created:
        lifecycle.note(run, JobEvent.Kind.CHECKPOINT, f"{images_seen:,} images seen")
    return checkpoint


def begin_training(
    run: Run, environment: dict[str, Any], autoencoder: Checkpoint | None = None
) -> None:
    """Write what a training runs on, and whose autoencoder it takes, if it takes one.

    Raises:
        StaleAttempt: if the run no longer belongs to this attempt.
    """
    facts: dict[str, Any] = {"environment": environment}
    if autoencoder is not None:
        facts["environment"] = {**environment, "autoencoder": f"sha256 {autoencoder.sha256}"}
        facts["autoencoder_seconds"] = autoencoders.seconds_of(autoencoder.run)
    run.environment = facts["environment"]
    lifecycle.beat(run, **facts)


@transaction.atomic
def record_training(run: Run, **progress: Any) -> bool:
    """Renew a run's lease, write its progress and the new points of its loss curve.

    `points` are (images seen, wall seconds, losses), old ones among them perhaps. Returns False
    when the run should stop, like `lifecycle.beat`.

    Raises:
        StaleAttempt: if the run no longer belongs to this attempt; nothing is written.
    """
    points = progress.pop("points", ())
    goes_on = lifecycle.beat(run, **progress)
    _add_loss_points(run, points)
    return goes_on


def _add_loss_points(run: Run, points: Iterable[LossFigures]) -> None:
    """Add what lies beyond the curve's end: a resumed run goes over images it has seen."""
    curve = LossPoint.objects.filter(run=run)
    last = curve.last()
    end = last.images_seen if last else -1
    new = {
        images_seen: LossPoint(
            run=run, images_seen=images_seen, wall_seconds=seconds, losses=losses
        )
        for images_seen, seconds, losses in points
        if images_seen > end and losses
    }
    curve.bulk_create(new.values())
    keys = list(curve.values_list("pk", flat=True))
    if len(keys) > MAX_LOSS_POINTS:
        curve.filter(pk__in=keys[1:-1:2]).delete()


@settled()
def finish_training(
    run: Run, checkpoint: Checkpoint, *, resume: str = "none", **facts: Any
) -> None:
    """Complete a run and queue one sample set per sampler, in one transaction.

    `resume` says whether a run that was interrupted has the bits of one that was not: "exact" or
    "approximate"; "none" if it never was. The run's environment keeps it.

    Raises:
        StaleAttempt: if the run no longer belongs to this attempt; nothing is written.
    """
    if word := RESUMED.get(resume):
        facts["environment"] = {**run.environment, "resumed": word}
    lifecycle.complete(run, budget_fraction=1.0, **facts)
    entry = run.entry
    count = images_needed(list(entry.experiment.protocols.all()))
    for sampler in entry.samplers:
        parsed = registry.parse_sampler(entry.algorithm, sampler)
        _queue_samples(
            checkpoint,
            parsed.label(),
            entry=entry,
            sampler=sampler,
            count=count,
            first_seed=run.seed * SEEDS_PER_RUN,
        )
    if entry.has_autoencoder:
        _queue_reconstructions(checkpoint, count)


def _queue_samples(checkpoint: Checkpoint, label: str, **fields: Any) -> None:
    """Queue a sample set of a run, unless it has one of this label."""
    run = checkpoint.run
    sample_set, created = SampleSet.objects.get_or_create(
        run=run,
        sampler_label=label,
        defaults={"checkpoint": checkpoint, "memory_gb": run.memory_gb, **fields},
    )
    if created:
        lifecycle.enqueue(sample_set)


def _queue_reconstructions(checkpoint: Checkpoint, wanted: int) -> None:
    """Queue real images to go through a run's autoencoder: scenes for prompts, or the test split."""
    control = _reconstructed(checkpoint.run.entry)
    experiment, kind = control.experiment, controls.CONTROLS[controls.RECONSTRUCTED]
    is_drawn = asked.can_be_drawn(experiment)
    label = f"{'scenes for the prompts' if is_drawn else 'test split'}, {kind.source}"
    _queue_samples(
        checkpoint,
        label,
        entry=control,
        sampler={"name": label},
        count=wanted if is_drawn else kind.available(experiment.dataset, wanted),
    )


@settled()
def finish_sampling(sample_set: SampleSet, **facts: Any) -> None:
    """Complete a sample set and queue one evaluation per protocol, in one transaction.

    Raises:
        StaleAttempt: if the sample set no longer belongs to this attempt; nothing is written.
    """
    lifecycle.complete(sample_set, drawn=sample_set.count, **facts)
    for protocol in sample_set.entry.experiment.protocols.all():
        evaluation, created = Evaluation.objects.get_or_create(
            sample_set=sample_set, protocol=protocol
        )
        if created:
            lifecycle.enqueue(evaluation)


@settled()
def finish_evaluation(evaluation: Evaluation, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Write all metric values and completed in one transaction.

    `values` maps metrics to the fields of their MetricValue.

    Raises:
        StaleAttempt: if the evaluation no longer belongs to this attempt; nothing is written.
    """
    lifecycle.complete(evaluation, fraction=1.0, step="")
    evaluation.values.all().delete()
    MetricValue.objects.bulk_create(
        MetricValue(evaluation=evaluation, metric=metric, **fields)
        for metric, fields in values.items()
    )


def shortage(evaluation: Evaluation) -> str:
    """Return why a sample set is too small for the protocol, "" if it is not.

    Only a control can be: its split ends. It is then not scored at another number of images.
    """
    sample_set, wanted = evaluation.sample_set, evaluation.protocol.num_images
    control = sample_set.entry.control
    if control is None or sample_set.count >= wanted:
        return ""
    return (
        f"the {control.split} split holds {sample_set.count:,} images, "
        f"the protocol scores {wanted:,}"
    )


def finish_unscored(evaluation: Evaluation, reason: str) -> None:
    """Complete an evaluation with every metric absent for one reason.

    Raises:
        StaleAttempt: if the evaluation no longer belongs to this attempt; nothing is written.
    """
    absent = {metric: {"reason": reason} for metric in evaluation.protocol.metrics}
    finish_evaluation(evaluation, absent)


@settled()
def cancel_job(job: Job, *, user: Actor) -> bool:
    """Cancel a queued job at once, ask a running one to stop; return False if it is neither."""
    done = lifecycle.cancel(job, by=audit.name_of(user))
    if done:
        audit.record(user, AuditEvent.Action.CANCELLED, job)
    return done


@settled()
def retry_job(job: Job, *, user: Actor) -> bool:
    """Queue a failed or cancelled job again; return False if it is neither."""
    done = lifecycle.retry(job, by=audit.name_of(user))
    if done:
        audit.record(user, AuditEvent.Action.RETRIED, job)
    return done


def cancel_experiment(experiment: Experiment, *, user: Actor) -> int:
    """Return how many jobs were cancelled or asked to stop.

    A run that completes meanwhile queues new jobs, so look again until none is left.
    """
    cancelled = 0
    while waiting := [job for job in experiment.jobs() if job.can_cancel]:
        with settled():
            cancelled += sum(lifecycle.cancel(job, by=audit.name_of(user)) for job in waiting)
    if cancelled:
        audit.record(user, AuditEvent.Action.CANCELLED, experiment, f"{cancelled} jobs")
    return cancelled


@settled()
def retry_experiment(experiment: Experiment, *, user: Actor) -> int:
    """Return how many failed or cancelled jobs were queued again."""
    by = audit.name_of(user)
    count = sum(lifecycle.retry(job, by=by) for job in experiment.jobs() if job.can_retry)
    if count:
        audit.record(user, AuditEvent.Action.RETRIED, experiment, f"{count} jobs")
    return count
