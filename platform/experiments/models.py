"""A comparison as rows: Experiment, its Entries, and their Runs, SampleSets and Evaluations."""

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from catalog import stored
from catalog.models import Dataset, Protocol
from evaluation.protocols.manifests import Manifest
from experiments import controls
from experiments.questions.models import Question as Question, Viewing as Viewing  # as below
from experiments.readings.models import (
    MetricValue as MetricValue,  # as below
    SheetReading as SheetReading,
)
from experiments.searches.models import Search as Search  # as below
from experiments.tags.models import Tag as Tag  # as below
from experiments.uploads.models import Intake as Intake, Upload as Upload  # for Django to find them
from generators.specs import registry
from generators.specs.algorithms import AlgorithmSpec
from jobs.models import Job, indexes_of, listed_by, overall


class Experiment(models.Model):
    """One comparison: a dataset, protocols, one budget for all entries, seeds."""

    name = models.CharField(max_length=200, unique=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="experiments")
    protocols = models.ManyToManyField(Protocol, related_name="experiments")
    budget_images = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Images seen in training, the same for every entry."
    )
    budget_seconds = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Device-seconds of training, the same for every entry.",
    )
    seeds = models.JSONField(default=list, help_text="Training seeds: one run per entry and seed.")
    memory_gb = models.PositiveIntegerField(
        default=0, help_text="GB of device memory that training and sampling need; 0 = any."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(budget_images__gte=1, budget_seconds__isnull=True)
                | Q(budget_images__isnull=True, budget_seconds__gt=0)
                | Q(budget_images__isnull=True, budget_seconds__isnull=True),
                name="experiment_has_one_budget_at_most",
            )
        ]
        indexes: ClassVar = [*listed_by("created_at")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("experiment", args=[self.pk])

    @property
    def budget(self) -> str:
        """Return the budget in words, "" where nothing is trained."""
        if self.budget_images is not None:
            return f"{self.budget_images:,} images seen"
        return "" if self.budget_seconds is None else f"{self.budget_seconds:g} device-seconds"

    def jobs(self) -> list[Job]:
        """Return all jobs of the experiment: runs, sample sets and evaluations."""
        return [
            *Run.objects.filter(entry__experiment=self),
            *SampleSet.objects.filter(entry__experiment=self),
            *Evaluation.objects.filter(sample_set__entry__experiment=self),
        ]

    @property
    def status(self) -> str:
        return overall({job.status for job in self.jobs()})


class Entry(models.Model):
    """One contender: a generator with its complete frozen config, a pipeline, samples, a control."""

    class Kind(models.TextChoices):
        GENERATOR = "generator", "Trained here"  # the only one with an algorithm and runs
        PIPELINE = "pipeline"  # config: {"pipeline", "revision", how it is loaded, "card"}
        CONTROL = "control"  # no model: config says which, {"control": "test"}
        EXTERNAL = "external"  # config: {"manifest": {…}, "sets": [{"file", "sha256"}]}

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="entries")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.GENERATOR)
    label = models.CharField(max_length=150)  # of a contender 100 at most: controls name them
    algorithm = models.CharField(max_length=50, blank=True)
    config = models.JSONField(default=dict)
    samplers = models.JSONField(default=list)
    position = models.PositiveIntegerField(default=0)
    search = models.ForeignKey(
        Search, null=True, blank=True, on_delete=models.CASCADE, related_name="entries"
    )  # that tries it
    trial = models.PositiveIntegerField(null=True, blank=True)  # from 1; 0 = the best, run again

    class Meta:
        ordering: ClassVar = ["experiment_id", "position"]
        verbose_name_plural = "entries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["experiment", "label"], name="entry_label_unique_in_experiment"
            ),
            models.UniqueConstraint(fields=["search", "trial"], name="entry_unique_per_trial"),
            models.CheckConstraint(
                condition=Q(search__isnull=True, trial__isnull=True)
                | Q(search__isnull=False, trial__isnull=False),
                name="entry_of_a_search_is_a_trial_of_it",
            ),
            models.CheckConstraint(
                condition=(~Q(kind="generator") & Q(algorithm=""))
                | (Q(kind="generator") & ~Q(algorithm="")),
                name="entry_trained_here_has_algorithm",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["experiment", "kind", "trial"], name="entry_by_kind"),
            models.Index(fields=["algorithm"], name="entry_by_algorithm"),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def control(self) -> controls.Control | None:
        """Return which control the entry is, None for a contender."""
        if self.kind != self.Kind.CONTROL:
            return None
        return controls.CONTROLS[self.config["control"]]

    @property
    def source(self) -> int | None:
        """Return the key of the entry whose autoencoder a control shows, None for another."""
        control = self.control
        return int(self.config["entry"]) if control and control.of_entry else None

    @property
    def has_autoencoder(self) -> bool:
        return self.spec is not None and self.spec.config.has_autoencoder

    @property
    def manifest(self) -> Manifest | None:
        """Return what is said of an external entry, None for others."""
        is_external = self.kind == self.Kind.EXTERNAL
        return Manifest.from_record(self.config["manifest"]) if is_external else None

    @property
    def spec(self) -> AlgorithmSpec | None:
        """Return what the registry knows of the algorithm, None if there is none or not any more."""
        return registry.ALGORITHMS.get(self.algorithm)

    @property
    def family(self) -> str:
        """Return the name of the algorithm's family, else the kind; "missing" without its package."""
        if self.spec:
            return self.spec.family_name
        return "missing" if self.algorithm else self.kind

    @property
    def family_label(self) -> str:
        """Return the family as pages show it."""
        if self.spec:
            return registry.FAMILIES[self.family].label
        return "Not installed" if self.algorithm else self.get_kind_display()

    @property
    def family_description(self) -> str:
        """Return the family in a few words, empty for a control."""
        if self.spec:
            return registry.FAMILIES[self.family].description
        missing = f"no {self.algorithm} is installed here" if self.algorithm else ""
        return controls.ELSEWHERE.get(self.kind, missing)

    @property
    def sampler_labels(self) -> list[str]:
        """Return its samplers' labels as they were given; none where only what was drawn has them."""
        if not self.spec:
            return []
        return [registry.parse_sampler(self.algorithm, each).label() for each in self.samplers]

    @property
    def algorithm_label(self) -> str:
        return self.spec.label if self.spec else self.algorithm or self.label


class Run(Job):
    """One training: an entry with a seed."""

    task_name = "experiments.tasks.train_run"
    urgency = 0

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="runs")
    seed = models.PositiveIntegerField()
    images_seen = models.PositiveBigIntegerField(default=0)
    budget_fraction = models.FloatField(default=0.0)  # 0..1
    device_seconds = models.FloatField(default=0.0)
    autoencoder_seconds = models.FloatField(null=True, blank=True)  # of these, or of a shared one
    images_per_second = models.FloatField(null=True, blank=True)
    losses = models.JSONField(default=dict)  # the latest, by name
    skipped_steps = models.PositiveIntegerField(default=0)  # gradients were not finite
    parameters = models.PositiveBigIntegerField(null=True, blank=True)  # needed to sample
    environment = models.JSONField(default=dict)  # versions, device, threads, resumed

    class Meta(Job.Meta):
        ordering: ClassVar = ["entry_id", "seed"]
        constraints: ClassVar = [
            *Job.Meta.constraints,
            models.UniqueConstraint(fields=["entry", "seed"], name="run_seed_unique_per_entry"),
        ]
        indexes: ClassVar = indexes_of("entry") + listed_by("seed", "images_seen", "device_seconds")

    def __str__(self) -> str:
        return f"{self.entry.label}, seed {self.seed}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def folder(self) -> Path:
        return Path(settings.DATA_DIR) / "runs" / str(self.pk)

    @property
    def percent(self) -> int:
        return int(100 * self.budget_fraction)

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated seconds until the budget is used, None when unknown."""
        if not self.is_active or not self.budget_fraction or not self.device_seconds:
            return None
        return self.device_seconds * (1 - self.budget_fraction) / self.budget_fraction


class Checkpoint(models.Model):
    """Weights of a run after so many images; the folder is written once and renamed in place."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoints")
    images_seen = models.PositiveBigIntegerField()
    path = models.CharField(max_length=300)  # relative to DATA_DIR
    sha256 = models.CharField(max_length=64)
    bytes = models.PositiveBigIntegerField()
    preview = models.CharField(max_length=300, blank=True)  # PNG grid, relative to DATA_DIR
    verdict = models.JSONField(
        default=dict, blank=True
    )  # of its discriminator, as `work.judged` has it
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["run_id", "images_seen"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "images_seen"], name="checkpoint_unique_per_images_seen"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run} after {self.images_seen:,} images"

    @property
    def is_kept(self) -> bool:
        """Whether the weights can still be had: only the newest of a run are kept."""
        return stored.is_kept(Path(settings.DATA_DIR) / self.path)


class LossPoint(models.Model):
    """Named losses of a run after so many images; thinned so that a run keeps a few hundred."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="loss_points")
    images_seen = models.PositiveBigIntegerField()
    wall_seconds = models.FloatField()
    losses = models.JSONField()

    class Meta:
        ordering: ClassVar = ["run_id", "images_seen"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "images_seen"], name="losspoint_unique_per_images_seen"
            )
        ]

    def __str__(self) -> str:
        return f"{self.run}: {self.images_seen}"


class SampleSet(Job):
    """Images drawn from a checkpoint or a pipeline; those of a control; or handed in."""

    task_name = "experiments.tasks.draw_samples"
    urgency = 1

    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="sample_sets")
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.CASCADE, related_name="sample_sets"
    )
    checkpoint = models.ForeignKey(Checkpoint, null=True, blank=True, on_delete=models.RESTRICT)
    seed = models.PositiveIntegerField(default=0)  # of an entry without runs: which of its sets
    source = models.CharField(max_length=300, blank=True)  # what was handed in, in DATA_DIR
    findings = models.JSONField(default=list)  # of what was not trained here, in sentences
    provenance = models.JSONField(default=dict, blank=True)  # of a pipeline, or as it is said
    sampler = models.JSONField(default=dict)
    sampler_label = models.CharField(max_length=100)
    count = models.PositiveIntegerField()
    first_seed = models.PositiveBigIntegerField(default=0)  # image i has the seed first_seed + i
    drawn = models.PositiveIntegerField(default=0)
    step = models.CharField(max_length=200, blank=True)  # what it is at before it draws, in words
    nfe = models.PositiveIntegerField(null=True, blank=True)  # network evaluations per image
    images_per_second = models.FloatField(null=True, blank=True)
    latency_seconds = models.FloatField(null=True, blank=True)  # one image, median
    latency_p95_seconds = models.FloatField(null=True, blank=True)
    batch_size = models.PositiveIntegerField(null=True, blank=True)  # images drawn at once
    peak_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    # images whose prompt was no caption of the training, where the model knows these as wholes
    stand_ins = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    reconstruction = models.JSONField(default=dict, blank=True)  # what an autoencoder loses

    class Meta(Job.Meta):
        ordering: ClassVar = ["entry_id", "run_id", "sampler_label"]
        constraints: ClassVar = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["run", "sampler_label"], name="sampleset_sampler_unique_per_run"
            ),
            models.UniqueConstraint(
                fields=["entry", "sampler_label", "seed"],
                condition=Q(run__isnull=True),
                name="sampleset_seed_unique_per_entry_without_runs",
            ),
        ]
        indexes: ClassVar = indexes_of("entry")

    def __str__(self) -> str:
        return f"{self.run or self.entry}, {self.sampler_label}"

    @property
    def path(self) -> Path:
        """The images, `.npz` with `arr_0` uint8 NHWC and `labels`; each attempt has its own file."""
        return Path(settings.DATA_DIR) / "samples" / f"{self.pk}-{self.attempt}.npz"

    @property
    def grid_path(self) -> Path:
        """A contact sheet of the first images, uncurated."""
        return self.path.with_suffix(".png")

    @property
    def percent(self) -> int:
        return 100 * self.drawn // self.count


class Evaluation(Job):
    """A sample set scored under a protocol."""

    task_name = "experiments.tasks.evaluate_samples"
    urgency = 2  # minutes of work must not wait for hours of it

    sample_set = models.ForeignKey(SampleSet, on_delete=models.CASCADE, related_name="evaluations")
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT, related_name="evaluations")
    step = models.CharField(max_length=100, blank=True)  # what it is doing, for people
    fraction = models.FloatField(default=0.0)  # 0..1

    class Meta(Job.Meta):
        ordering: ClassVar = ["sample_set_id", "protocol_id"]
        constraints: ClassVar = [
            *Job.Meta.constraints,
            models.UniqueConstraint(
                fields=["sample_set", "protocol"], name="evaluation_unique_per_protocol"
            ),
        ]
        indexes: ClassVar = indexes_of("sample_set")

    def __str__(self) -> str:
        return f"{self.sample_set} under {self.protocol}"

    @property
    def percent(self) -> int:
        return int(100 * self.fraction)
