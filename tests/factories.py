"""Rows for tests: name only what the test is about, the rest is made up and consistent."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from django.contrib.auth.hashers import make_password
from django.utils import timezone
from PIL import Image

from accounts.models import Role, User
from catalog.models import Dataset, PromptSet, Protocol
from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.texts import caption_facts, vocabulary
from evaluation.protocols import building as protocols
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.labels import Wanted
from evaluation.protocols.prompts import PromptSet as PromptRecord, packaged_prompts
from experiments import asked, controls, services
from experiments.answers import asking
from experiments.models import (
    Checkpoint,
    Entry,
    Evaluation,
    Experiment,
    Intake,
    LossPoint,
    MetricValue,
    Question,
    Run,
    SampleSet,
    SheetReading,
    Upload,
    Viewing,
)
from experiments.viewings import asking as viewings
from generators.specs import registry
from jobs import kept_log
from jobs.models import ACTIVE, FINISHED, Job, Status, Worker
from jobs.settled import tell

J = TypeVar("J", bound=Job)
Number = float | None

CLASSES = tuple("0123456789")
PASSWORD = "only for tests"  # noqa: S105  # of every made user
_numbers = itertools.count(1)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def hashed_password() -> str:
    return make_password(PASSWORD)


def make_user(*, username: str = "", role: Role = Role.SUBMITTER) -> User:
    """Return an account whose password is PASSWORD."""
    return User.objects.create(
        username=username or f"user-{next(_numbers)}",
        password=hashed_password(),
        role=role,
    )


def make_dataset(
    *,
    slug: str = "",
    resolution: int = 8,
    channels: int = 1,
    classes: Sequence[str] = CLASSES,
    train_size: int = 200,
    test_size: int = 100,
    files: bool = False,
    texts: Sequence[str] = (),  # captions in turn; () = without
    **fields: Any,
) -> Dataset:
    """Return a registered dataset; with `files` its two splits of random images are on disk."""
    slug = slug or f"dataset-{next(_numbers)}"
    dataset = Dataset(
        slug=slug,
        resolution=resolution,
        channels=channels,
        classes=list(classes),
        train_size=train_size,
        test_size=test_size,
        **{"name": slug.title(), "source": "made up", "licence": "CC0", **fields},
    )
    if texts:
        facts = asdict(caption_facts(texts))
        told = {"words": vocabulary(texts), "unknown": 0, "unknown_words": []}
        dataset.captions = {"train": facts, "test": facts, **told}
    dataset.digest = sha256(slug)
    dataset.train_digest, dataset.test_digest = sha256(f"{slug} train"), sha256(f"{slug} test")
    if files:
        _write_splits(dataset, texts)
    dataset.save()
    return dataset


def _write_splits(dataset: Dataset, texts: Sequence[str]) -> None:
    rng = np.random.default_rng(0)
    dataset.folder.mkdir(parents=True)
    side, channels = dataset.resolution, dataset.channels
    for path, size in (
        (dataset.train_path, dataset.train_size),
        (dataset.test_path, dataset.test_size),
    ):
        arrays: dict[str, Any] = {
            "arr_0": rng.integers(0, 256, (size, side, side, channels), dtype=np.uint8)
        }
        if dataset.classes:
            arrays["labels"] = np.arange(size, dtype=np.int64) % dataset.num_classes
        if texts:
            arrays["captions"] = np.resize(np.array(texts), size)
        np.savez(path, **arrays)
    dataset.train_digest = sha256_of(dataset.train_path)
    dataset.test_digest = sha256_of(dataset.test_path)


def make_prompts(*texts: str) -> PromptSet:
    """Return registered prompts of these texts, without claims."""
    texts = texts or ("a red circle", f"a prompt of number {next(_numbers)}")
    prompts = [{"id": str(i), "text": text, "group": "all"} for i, text in enumerate(texts)]
    record = {"version": 1, "prompts": prompts}
    digest = PromptRecord.from_record(record).digest()
    name = f"prompts-{next(_numbers)}"
    return PromptSet.objects.create(slug=name, name=name, record=record, digest=digest)


def make_scene_prompts(count: int = 4) -> PromptSet:
    """Return the first of the packaged prompts of scenes, which have claims, as a registered set."""
    packaged = packaged_prompts("scenes").to_record()
    record = packaged | {"prompts": packaged["prompts"][:count]}
    digest = PromptRecord.from_record(record).digest()
    name = f"scenes-{next(_numbers)}"
    facts = {"slug": name, "name": name, "record": record}
    return PromptSet.objects.get_or_create(digest=digest, defaults=facts)[0]


def make_protocol(
    *,
    dataset: Dataset | None = None,
    name: str = "",
    extractor: str = CLASSIFIER,
    weights_sha256: str = "",
    num_images: int | None = None,
    metrics: Sequence[str] | None = None,
    class_counts: Sequence[int] | None = None,  # of the train split; None = a protocol of before
    labels: Wanted | None = None,
    prompts: PromptSet | None = None,  # what images are asked with
    **fields: Any,
) -> Protocol:
    """Return a protocol that measures the dataset; each call has other weights by default."""
    dataset = dataset or make_dataset()
    number = next(_numbers)
    facts = protocols.DatasetFacts(
        slug=dataset.slug,
        resolution=dataset.resolution,
        channels=dataset.channels,
        splits={
            "train": protocols.SplitFacts(
                dataset.train_digest,
                dataset.train_size,
                class_counts=None if class_counts is None else tuple(class_counts),
            ),
            "test": protocols.SplitFacts(dataset.test_digest, dataset.test_size),
        },
    )
    protocol = protocols.build_protocol(
        facts,
        extractor=extractor,
        weights_sha256=weights_sha256 or sha256(f"weights {number}"),
        recipe={},
        metrics=metrics,
        num_images=num_images,
        labels=labels,
        prompts=None if prompts is None else prompts.parsed(),
    )
    return Protocol.objects.create(
        name=name or f"Protocol {number}",
        dataset=dataset,
        record=protocol.to_record(),
        fingerprint=protocol.fingerprint(),
        extractor=extractor,
        num_images=protocol.num_images,
        prompt_set=prompts,
        **fields,
    )


def make_old_protocol(*, dataset: Dataset | None = None) -> Protocol:
    """Return a protocol as version 1 wrote it, whose record nothing reads any more."""
    dataset = dataset or make_dataset()
    record = json.loads((Path(__file__).parent / "protocol_version_1.json").read_text())
    protocol = Protocol(
        name="classifier-test",
        dataset=dataset,
        record=record,
        fingerprint="cd3fff1826410b99b20e7c6374f73bb3169dc4dca3e5935b2ab8af927bf75f0e",
        extractor=CLASSIFIER,
        num_images=record["num_images"],
        facts={"test_accuracy": 0.9861},
    )
    return Protocol.objects.bulk_create([protocol])[0]


def experiment_data(*, protocol: Protocol, **changes: Any) -> dict[str, Any]:
    """Return a valid submission as plain data."""
    return {
        "name": f"Experiment {next(_numbers)}",
        "dataset": protocol.dataset.slug,
        "protocols": [protocol.fingerprint],
        "budget": {"images": 1000},
        "seeds": 1,
        "entries": [{"algorithm": "gan.sngan"}],
        **changes,
    }


def make_experiment(
    *,
    name: str = "",
    dataset: Dataset | None = None,
    protocols: Sequence[Protocol] = (),
    algorithms: Sequence[str] = ("gan.sngan",),
    entries: Sequence[Mapping[str, Any]] = (),
    seeds: Sequence[int] = (0,),
    budget: Mapping[str, float] | None = None,
    user: User | None = None,
) -> Experiment:
    """Return a submitted experiment: an entry per algorithm (or as given), everything queued."""
    protocols = list(protocols) or [make_protocol(dataset=dataset)]
    data = experiment_data(
        protocol=protocols[0],
        protocols=[protocol.fingerprint for protocol in protocols],
        budget=dict(budget or {"images": 1000}),
        seeds=list(seeds),
        entries=[dict(e) for e in entries] or [{"algorithm": name} for name in algorithms],
    )
    if name:
        data["name"] = name
    return services.submit_data(data, user=user)


def make_worker(
    *, name: str = "", queues: Sequence[str] = ("gpu", "default"), alive: bool = True, **fields: Any
) -> Worker:
    now = timezone.now()
    return Worker.objects.create(
        name=name or f"celery@node-{next(_numbers)}",
        queues=list(queues),
        **{
            "host": "node",
            "device": "CPU, 2 cores",
            "memory_bytes": 2**33,
            "version": "0.1.0",
            "pid": 4242,
            "started_at": now - timedelta(hours=1),
            "last_seen": now if alive else now - timedelta(hours=1),
            **fields,
        },
    )


def make_run(
    *,
    status: str = Status.QUEUED,
    entry: Entry | None = None,
    seed: int = 0,
    loss_points: int = 0,
    **fields: Any,
) -> Run:
    """Return the entry's run with this seed, in this status, with what such a run has."""
    entry = entry or _contender(make_experiment(seeds=[seed]))
    run, _ = Run.objects.get_or_create(entry=entry, seed=seed)
    for index in range(1, loss_points + 1):
        LossPoint.objects.create(
            run=run, images_seen=100 * index, wall_seconds=index, losses={"loss": 1 / index}
        )
    facts: dict[str, Any] = {}
    if status in ACTIVE:
        facts = {"budget_fraction": 0.5, "images_seen": 500, "losses": {"loss": 0.25}}
        facts |= {"device_seconds": 5.0, "images_per_second": 100.0}
    if status == Status.COMPLETED:
        facts = {"budget_fraction": 1.0, "images_seen": 1000, "losses": {"loss": 0.125}}
        facts |= {"device_seconds": 10.0, "images_per_second": 100.0, "parameters": 12345}
        facts |= {"environment": {"torch": "2", "device": "cpu"}}
    return _put(run, status, {**facts, **fields})


def make_checkpoint(*, run: Run | None = None, images_seen: int = 1000) -> Checkpoint:
    run = run or make_run(status=Status.COMPLETED)
    path = f"runs/{run.pk}/ckpt-{images_seen}"
    checkpoint, _ = Checkpoint.objects.get_or_create(
        run=run,
        images_seen=images_seen,
        defaults={"path": path, "sha256": sha256(path), "bytes": 1000},
    )
    return checkpoint


def make_sample_set(
    *,
    status: str = Status.COMPLETED,
    run: Run | None = None,
    entry: Entry | None = None,
    sampler: Mapping[str, Any] | None = None,
    files: bool = False,
    **fields: Any,
) -> SampleSet:
    """Return a run's sample set (by default of the entry's first sampler), or a control's.

    With `files` its images and its contact sheet are on disk.
    """
    if entry is not None and entry.kind == Entry.Kind.CONTROL:
        sample_set = entry.sample_sets.get()
    else:
        run = run or make_run(status=Status.COMPLETED, entry=entry)
        sample_set = _sample_set_of(run, sampler)
    facts: dict[str, Any] = {}
    if status == Status.COMPLETED:
        facts = {"drawn": sample_set.count, "images_per_second": 50.0, "latency_seconds": 0.02}
        facts |= {"latency_p95_seconds": 0.03, "batch_size": 100}
        facts |= {"nfe": None if sample_set.run is None else 1, "peak_memory_bytes": 2**20}
    if files:
        facts["sha256"] = _write_samples(sample_set)
    return _put(sample_set, status, {**facts, **fields})


def _sample_set_of(run: Run, sampler: Mapping[str, Any] | None) -> SampleSet:
    entry = run.entry
    parsed = registry.parse_sampler(entry.algorithm, sampler or entry.samplers[0])
    sample_set, _ = SampleSet.objects.get_or_create(
        run=run,
        sampler_label=parsed.label(),
        defaults={
            "entry": entry,
            "sampler": registry.sampler_to_dict(parsed),
            "checkpoint": make_checkpoint(run=run),
            "count": services.images_needed(list(entry.experiment.protocols.all())),
            "first_seed": run.seed * services.SEEDS_PER_RUN,
        },
    )
    return sample_set


def _write_samples(sample_set: SampleSet) -> str:
    dataset = sample_set.entry.experiment.dataset
    side = dataset.resolution
    pixels = np.zeros((sample_set.count, side, side, dataset.channels), dtype=np.uint8)
    labels = np.arange(sample_set.count, dtype=np.int64) % max(1, dataset.num_classes)
    sample_set.attempt = 1  # whose file it is
    sample_set.path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(sample_set.path, arr_0=pixels, labels=labels)
    Image.new("L", (64, 64)).save(sample_set.grid_path)
    return sha256_of(sample_set.path)


def make_question(
    *, experiment: Experiment | None = None, user: User | None = None, status: str = Status.QUEUED
) -> Question:
    """Return a question to one trained entry; a completed one is answered."""
    experiment = experiment or make_scenes_experiment()
    entry = _contender(experiment)
    make_checkpoint(run=make_run(entry=entry, seed=experiment.seeds[0], status=Status.COMPLETED))
    text = asked.prompts_of(experiment, 1) or ["a red circle"]
    data = {"text": text[0], "images": 2, "first_seed": 7}
    question = asking.ask(experiment, data, user=user or make_user())
    if status == Status.COMPLETED:
        return finish_question(question)
    return _put(question, status, {})


def finish_question(question: Question) -> Question:
    """Answer a question: one entry drew, one of its images can be read; another could not draw."""
    run = asking.contenders(question.experiment, question.training_seed)[0]
    images: list[dict[str, Any]] = [
        {"seed": seed, "read": None, "follows": None} for seed in question.seeds
    ]
    images[0] |= {"read": "a small red circle", "follows": True}
    answer: dict[str, Any] = {
        "entry": run.entry_id,
        "run": run.pk,
        "label": run.entry.label,
        "sampler": "direct",
    }
    answer |= {"algorithm": run.entry.algorithm, "told": True}
    drawn = answer | {"row": 0, "error": "", "images": images}
    failed = answer | {"row": None, "error": "weights are lost", "images": []}
    question.attempt = 1  # whose file it is
    question.path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1 + 65 * question.images, 66), (120, 160, 90)).save(question.path)
    facts = {"answers": [drawn, failed], "judge": "scenes-1", "sha256": sha256_of(question.path)}
    return _put(question, Status.COMPLETED, {**facts, "entries_done": 2, "entries_total": 2})


def make_log(job: Job, text: str = "2026-01-01 00:00:00Z INFO x: begun\n") -> Path:
    """Write the log of a job's attempt, its first one if it had none."""
    if not job.attempt:
        job.attempt = 1
        job.save(update_fields=["attempt"])
    path = kept_log.path_of(job.type_name(), job.pk, job.attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_viewing(
    *,
    run: Run | None = None,
    user: User | None = None,
    kind: str = "reverse",
    status: str = Status.QUEUED,
    **asked: Any,
) -> Viewing:
    """Return a look into a completed training, of DDPM by default; a completed one has pictures."""
    if run is None:
        entry = _contender(make_experiment(algorithms=["diffusion.ddpm"]))
        run = make_run(entry=entry, status=Status.COMPLETED)
    make_checkpoint(run=run)
    viewing, _ = viewings.ask(run, {"kind": kind, **asked}, user=user or make_user())
    if status == Status.COMPLETED:
        return finish_viewing(viewing)
    return _put(viewing, status, {})


def finish_viewing(viewing: Viewing) -> Viewing:
    """Give a viewing three frames of two rows."""
    viewing.attempt = 1  # whose file it is
    viewing.path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3 * 68 + 4, 2 * 68 + 4), 120).save(viewing.path)
    frames: list[dict[str, Any]] = [
        {"step": 0, "timestep": 999.0, "alpha_bar": 0.0001, "snr_db": -40.0},
        {"step": 1, "timestep": 499.0, "alpha_bar": 0.5, "snr_db": 0.0},
        {"end": "the image"},
    ]
    facts = {"tracks": ["seed 0, xₜ", "seed 0, x̂₀"], "frames": frames, "cells": []}
    facts |= {"summary": {}, "told": ["class 0"], "images_seen": 1000}
    return _put(viewing, Status.COMPLETED, {"facts": facts, "sha256": sha256_of(viewing.path)})


def make_upload(content: bytes = b"x", *, name: str = "s.zip", owner: User | None = None) -> Upload:
    """Return an upload that is whole."""
    upload = Upload.objects.create(owner=owner or make_user(), name=name, length=len(content))
    upload.path.parent.mkdir(exist_ok=True)
    upload.path.write_bytes(content)
    return upload


def make_intake(*, user: User | None = None, status: str = Status.COMPLETED) -> Intake:
    """Return a dataset of two classes that was looked at and waits to be registered."""
    user = user or make_user()
    intake = Intake.objects.create(
        kind=Intake.Kind.DATASET, created_by=user, asked={"name": "Flowers", "file": "flowers.zip"}
    )
    intake.attempt = 1  # whose folder it is
    intake.folder.mkdir(parents=True)
    Image.new("L", (64, 64)).save(intake.picture)
    sizes = {"train_size": 4, "test_size": 2, "resolution": 8, "channels": 1, "classes": ["a", "b"]}
    digests = {"digest": sha256("x"), "train_digest": sha256("y"), "test_digest": sha256("z")}
    prepared = {**sizes, **digests, "preparation": "read from flowers.zip", "left_out": ["1 text"]}
    found = {"prepared": prepared, "class_sizes": [[2, 2], [1, 1]], "captions": [], "shown": 4}
    return _put(intake, status, {"found": {**found, "picture": sha256_of(intake.picture)}})


def make_evaluation(
    *,
    status: str = Status.COMPLETED,
    sample_set: SampleSet | None = None,
    protocol: Protocol | None = None,
    values: Mapping[str, Number | Mapping[str, Any]] | None = None,
    **fields: Any,
) -> Evaluation:
    """Return an evaluation; a completed one has `values`, by default 1.0 for every metric.

    A value is a number, None (absent with a reason), or the fields of a MetricValue.
    """
    sample_set = sample_set or make_sample_set()
    protocol = protocol or sample_set.entry.experiment.protocols.all()[0]
    evaluation, _ = Evaluation.objects.get_or_create(sample_set=sample_set, protocol=protocol)
    if status == Status.COMPLETED:
        fields = {"fraction": 1.0, **fields}
        if values is None:
            values = dict.fromkeys(protocol.metrics, 1.0)
        for metric, value in values.items():
            _write_value(evaluation, metric, value)
    return _put(evaluation, status, fields)


def make_reading(evaluation: Evaluation, **fields: Any) -> SheetReading:
    """Return what was read of ten images of an evaluation, with the picture of what is nearest."""
    facts = {"distance": "features", "nearest": [7] * 10, "distances": [0.25] * 10, **fields}
    reading = SheetReading.objects.create(evaluation=evaluation, **facts)
    reading.path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (64, 64)).save(reading.path)
    return reading


def _write_value(
    evaluation: Evaluation, metric: str, value: Number | Mapping[str, Any]
) -> MetricValue:
    if isinstance(value, Mapping):
        fields = dict(value)
    else:
        fields = {"value": value, "reason": "" if value is not None else "not defined here"}
    written, _ = MetricValue.objects.update_or_create(
        evaluation=evaluation, metric=metric, defaults=fields
    )
    return written


def make_scores(
    *,
    entry: Entry,
    protocol: Protocol,
    values: Sequence[Mapping[str, Number | Mapping[str, Any]]],
    sampler: Mapping[str, Any] | None = None,
) -> list[Evaluation]:
    """Return completed evaluations of an entry: `values[i]` are those of its i-th seed."""
    if entry.kind == Entry.Kind.CONTROL:
        sets = [make_sample_set(entry=entry)]
    elif entry.kind == Entry.Kind.EXTERNAL:
        sets = list(entry.sample_sets.order_by("seed")[: len(values)])
    else:
        seeds = entry.experiment.seeds[: len(values)]
        runs = [make_run(entry=entry, seed=seed, status=Status.COMPLETED) for seed in seeds]
        sets = [make_sample_set(run=run, sampler=sampler) for run in runs]
    return [
        make_evaluation(sample_set=sample_set, protocol=protocol, values=numbers)
        for sample_set, numbers in zip(sets, values, strict=True)
    ]


def make_external(
    experiment: Experiment, *, sets: int = 1, findings: Sequence[str] = (), **manifest: Any
) -> Entry:
    """Return an external entry with so many sets of samples, which have been read."""
    said = {"system": f"System {next(_numbers)}", **manifest}
    given = [{"file": f"{place}.npz", "sha256": sha256(f"set {place}")} for place in range(sets)]
    entry = Entry.objects.create(
        experiment=experiment,
        kind=Entry.Kind.EXTERNAL,
        label=f"{said['system']} {said.get('version', '')}".strip(),
        config={"manifest": said, "sets": given},
        position=experiment.entries.count(),
    )
    for place in range(sets):
        count = services.images_needed(list(experiment.protocols.all()))
        sample_set = SampleSet.objects.create(
            entry=entry, seed=place, sampler_label="handed in", count=count, findings=list(findings)
        )
        _put(sample_set, Status.COMPLETED, {"drawn": count})
    return entry


def make_asked_experiment(*texts: str) -> Experiment:
    """Return an experiment on captions, whose protocol asks with prompts of these texts."""
    texts = texts or ("a red circle", f"a blue circle of number {next(_numbers)}")
    dataset = make_dataset(classes=(), texts=texts, train_size=40, test_size=21)
    protocol = make_protocol(dataset=dataset, prompts=make_prompts(*texts))
    return make_experiment(protocols=[protocol])


def make_scenes_experiment(
    *, entries: Sequence[Mapping[str, Any]] = (), files: bool = False, **fields: Any
) -> Experiment:
    """Return an experiment on scenes of 32 pixels, whose protocol checks the claims of its prompts."""
    prompts = make_scene_prompts()
    texts = [each["text"] for each in prompts.record["prompts"]]
    dataset = make_dataset(
        classes=(), texts=texts, resolution=32, channels=3, train_size=40, test_size=20, files=files
    )
    protocol = make_protocol(dataset=dataset, prompts=prompts, num_images=8)
    return make_experiment(protocols=[protocol], entries=entries, **fields)


# Those of an experiment without prompts and autoencoders.
CONTROLS_OF_ALL = tuple(
    kind for kind, each in controls.CONTROLS.items() if not (each.is_asked or each.of_entry)
)


def control_of(experiment: Experiment, kind: str = controls.TEST) -> Entry:
    """Return a control of an experiment, by default its real test images."""
    return experiment.entries.get(kind=Entry.Kind.CONTROL, config__control=kind)


def controls_of(experiment: Experiment) -> list[Entry]:
    """Return all controls of an experiment, real test images first."""
    return [control_of(experiment, kind) for kind in CONTROLS_OF_ALL]


def contenders_of(experiment: Experiment) -> list[Entry]:
    return list(experiment.entries.filter(kind=Entry.Kind.GENERATOR))


def _contender(experiment: Experiment) -> Entry:
    return contenders_of(experiment)[0]


def _put(job: J, status: str, fields: dict[str, Any]) -> J:
    """Write a job's status with everything that the database wants of it in that status."""
    now = timezone.now()
    state: dict[str, Any] = {"status": status, "lease_until": None, "finished_at": None}
    if status in ACTIVE:
        worker = fields.get("worker") or Worker.objects.first() or make_worker()
        state |= {"worker": worker, "attempt": 1, "lease_until": now + timedelta(seconds=30)}
        state |= {"started_at": now, "heartbeat_at": now}
    if status in FINISHED:
        state |= {"finished_at": now, "started_at": now - timedelta(seconds=60), "attempt": 1}
    if status == Status.FAILED:
        state |= {"reason": "out of memory", "error": "Traceback\nMemoryError"}
    for name, value in {**state, **fields}.items():
        setattr(job, name, value)
    job.save()
    tell(job)
    return job
