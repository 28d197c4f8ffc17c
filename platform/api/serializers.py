"""What the REST interface says of each row."""

from functools import reduce
from typing import Any, cast

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.reverse import reverse

from catalog.models import Dataset, Protocol
from experiments import asked
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
from experiments.overview import EXPERIMENT_OF
from experiments.ownership import may_change
from experiments.progress import Progress
from jobs.models import Job, JobEvent, Status, Worker

JOB_FIELDS = [
    "id",
    "url",
    "experiment",
    "entry",
    "status",
    "reason",
    "cause",
    "error",
    "queue",
    "worker",
    "attempt",
    "restarts",
    "queued_at",
    "started_at",
    "heartbeat_at",
    "finished_at",
]


class EntrySerializer(serializers.ModelSerializer[Entry]):
    config = serializers.DictField()
    samplers = serializers.ListField(child=serializers.DictField())
    family = serializers.CharField(read_only=True)

    class Meta:
        model = Entry
        fields = [
            "id",
            "kind",
            "label",
            "family",
            "algorithm",
            "config",
            "samplers",
            "sampler_labels",
            "search",
            "trial",
        ]
        read_only_fields = ("search", "trial")
        extra_kwargs = {
            "search": {"help_text": "id of the search that tries it, or runs the best again"},
            "trial": {
                "help_text": "from 1; 0: the best of a search, run again; null: of no search"
            },
        }

    sampler_labels = serializers.ListField(child=serializers.CharField(), read_only=True)


class HandedInSerializer(serializers.ModelSerializer[SampleSet]):
    """Where a sample set of an entry stands, and what was found in it."""

    url = serializers.HyperlinkedIdentityField(view_name="api:sampleset-detail")
    findings = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = SampleSet
        fields = ["id", "url", "seed", "status", "reason", "count", "findings"]


class EntryStateSerializer(EntrySerializer):
    """An entry with where its sample sets stand."""

    url = serializers.HyperlinkedIdentityField(view_name="api:entry-detail")
    experiment = serializers.PrimaryKeyRelatedField[Experiment](read_only=True)
    sample_sets = HandedInSerializer(many=True, read_only=True)

    class Meta(EntrySerializer.Meta):
        fields = [*EntrySerializer.Meta.fields, "url", "experiment", "sample_sets"]


class BudgetSerializer(serializers.Serializer[Any]):
    """Training budget, the same for every entry: exactly one of the two."""

    images = serializers.IntegerField(required=False, min_value=1, max_value=10**12)
    device_seconds = serializers.FloatField(required=False, min_value=1, max_value=10**9)


class ProgressSerializer(serializers.Serializer[Progress]):
    """Jobs of an experiment; `total` counts those that do not exist yet, too."""

    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    total = serializers.IntegerField()


class ExperimentSerializer(serializers.ModelSerializer[Experiment]):
    url = serializers.HyperlinkedIdentityField(view_name="api:experiment-detail")
    dataset = serializers.SlugRelatedField[Dataset](slug_field="slug", read_only=True)
    protocols = serializers.SlugRelatedField[Protocol](
        slug_field="fingerprint", read_only=True, many=True
    )
    budget = serializers.SerializerMethodField(
        help_text="null where nothing is trained: all entries are pipelines or external"
    )
    seeds = serializers.ListField(child=serializers.IntegerField())
    tags = serializers.SlugRelatedField[Tag](
        slug_field="word", read_only=True, many=True, help_text="in the order of the alphabet"
    )
    entries = EntrySerializer(many=True)
    status = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    warnings = serializers.SerializerMethodField(help_text="what entries cannot learn, and why")

    class Meta:
        model = Experiment
        fields = [
            "id",
            "url",
            "name",
            "dataset",
            "protocols",
            "budget",
            "seeds",
            "memory_gb",
            "tags",
            "entries",
            "status",
            "progress",
            "warnings",
            "created_at",
        ]

    def get_warnings(self, experiment: Experiment) -> list[str]:
        return asked.warnings(experiment.dataset, experiment.entries.all())

    @extend_schema_field(BudgetSerializer(allow_null=True))
    def get_budget(self, experiment: Experiment) -> dict[str, float] | None:
        if experiment.budget_images is not None:
            return {"images": experiment.budget_images}
        if experiment.budget_seconds is None:
            return None
        return {"device_seconds": experiment.budget_seconds}

    @extend_schema_field(serializers.ChoiceField(choices=Status.choices))
    def get_status(self, experiment: Experiment) -> str:
        return self._progress(experiment).status

    @extend_schema_field(ProgressSerializer)
    def get_progress(self, experiment: Experiment) -> dict[str, int]:
        return dict(ProgressSerializer(self._progress(experiment)).data)

    def _progress(self, experiment: Experiment) -> Progress:
        found: dict[int, Progress] = self.context["progress"]
        return found[experiment.pk]


class JobSerializer(serializers.ModelSerializer[Any]):
    """What runs, sample sets and evaluations have in common."""

    experiment = serializers.IntegerField(source="entry.experiment_id", read_only=True)
    entry = serializers.IntegerField(source="entry_id", read_only=True)
    worker = serializers.SlugRelatedField[Worker](
        slug_field="name", read_only=True, allow_null=True
    )
    error = serializers.SerializerMethodField(
        help_text="Traceback of the failure, for who submitted it and admins. Empty for others: "
        "it may tell of the machine; `reason` says in a sentence what failed."
    )

    def get_error(self, job: Job) -> str:
        return job.error if job.error and self._may_read(job) else ""

    def _may_read(self, job: Job) -> bool:
        experiment = reduce(getattr, EXPERIMENT_OF[type(job)].split("__"), job)
        return may_change(self.context["request"].user, cast(Experiment, experiment))


class ReconstructionField(serializers.DictField):
    """PSNR, SSIM and reconstruction-FD (by the fingerprint whose features they are on) of a split."""

    def __init__(self) -> None:
        super().__init__(
            read_only=True,
            allow_null=True,
            help_text="what the autoencoder loses of a split's images: `psnr` in decibels, `ssim`, "
            "`rfd` by the protocol on whose features it is; empty or null where there is none",
        )


class RunSerializer(JobSerializer):
    url = serializers.HyperlinkedIdentityField(view_name="api:run-detail")
    label = serializers.CharField(source="entry.label", read_only=True)  # type: ignore[assignment]  # a field of the data
    algorithm = serializers.CharField(source="entry.algorithm", read_only=True)
    losses = serializers.DictField(child=serializers.FloatField())
    environment = serializers.DictField()
    reconstruction = ReconstructionField()

    class Meta:
        model = Run
        fields = [
            *JOB_FIELDS,
            "label",
            "algorithm",
            "seed",
            "images_seen",
            "budget_fraction",
            "device_seconds",
            "autoencoder_seconds",
            "images_per_second",
            "losses",
            "skipped_steps",
            "parameters",
            "environment",
            "reconstruction",
        ]
        extra_kwargs = {
            "skipped_steps": {"help_text": "steps whose gradients were not finite"},
            "autoencoder_seconds": {
                "help_text": "of `device_seconds` those of the autoencoder; where that is another "
                "run's, what it cost there, beside `device_seconds`"
            },
        }


class LossPointSerializer(serializers.ModelSerializer[LossPoint]):
    losses = serializers.DictField(child=serializers.FloatField())

    class Meta:
        model = LossPoint
        fields = ["images_seen", "wall_seconds", "losses"]


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    class Meta:
        model = Checkpoint
        fields = ["id", "images_seen", "sha256", "bytes", "created_at"]


class SampleSetSerializer(JobSerializer):
    url = serializers.HyperlinkedIdentityField(view_name="api:sampleset-detail")
    label = serializers.CharField(source="entry.label", read_only=True)  # type: ignore[assignment]  # a field of the data
    algorithm = serializers.CharField(source="entry.algorithm", read_only=True)
    run = serializers.PrimaryKeyRelatedField[Run](read_only=True, allow_null=True)
    checkpoint = CheckpointSerializer(read_only=True, allow_null=True)
    sampler = serializers.DictField()
    reconstruction = ReconstructionField()
    findings = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="of a set that was handed in, or drawn from a pipeline, in sentences",
    )
    provenance = serializers.DictField(
        read_only=True,
        help_text="of a pipeline's images what they were made by: `card` (components with digests, "
        "licence, model card), `sampler`, `loaded`, `environment`, `blackened` by a safety checker "
        "(null: it has none), `cut` prompts with `cut_words`; of a set that was handed in whether "
        "prompt, class and seed are `said_of_each` image; empty for others",
    )
    file = serializers.SerializerMethodField()
    grid = serializers.SerializerMethodField()

    class Meta:
        model = SampleSet
        fields = [
            *JOB_FIELDS,
            "label",
            "algorithm",
            "run",
            "checkpoint",
            "sampler",
            "sampler_label",
            "count",
            "first_seed",
            "seed",
            "findings",
            "provenance",
            "drawn",
            "nfe",
            "images_per_second",
            "latency_seconds",
            "latency_p95_seconds",
            "batch_size",
            "peak_memory_bytes",
            "stand_ins",
            "sha256",
            "reconstruction",
            "file",
            "grid",
        ]
        extra_kwargs = {
            "seed": {"help_text": "of an entry without runs: which of its sets this is"},
            "nfe": {"help_text": "network evaluations per image"},
            "images_per_second": {"help_text": "drawn `batch_size` at once"},
            "latency_seconds": {"help_text": "of one image drawn alone, the median of several"},
            "latency_p95_seconds": {"help_text": "of one image drawn alone, the 95th percentile"},
            "batch_size": {"help_text": "images drawn at once for `images_per_second`"},
            "peak_memory_bytes": {"help_text": "of tensors on a GPU; null on the CPU"},
            "stand_ins": {
                "help_text": "images whose prompt was no caption of the training, of a model that "
                "knows captions as wholes: they show any other"
            },
        }

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_file(self, sample_set: SampleSet) -> str | None:
        return self._link(sample_set, "api:sampleset-file")

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_grid(self, sample_set: SampleSet) -> str | None:
        return self._link(sample_set, "api:sampleset-grid")

    def _link(self, sample_set: SampleSet, view_name: str) -> str | None:
        if sample_set.status != Status.COMPLETED:
            return None
        return reverse(view_name, args=[sample_set.pk], request=self.context["request"])


class MetricValueSerializer(serializers.ModelSerializer[MetricValue]):
    label = serializers.SerializerMethodField()  # type: ignore[assignment]  # a field of the data
    details = serializers.DictField(help_text="what else is known of the value")

    class Meta:
        model = MetricValue
        fields = [
            "metric",
            "label",
            "value",
            "bias_corrected",
            "standard_error",
            "low",
            "high",
            "reason",
            "details",
        ]

    def get_label(self, value: MetricValue) -> str:
        protocol = value.evaluation.protocol  # asked once for all values of an answer
        context: dict[str, Any] = self.context  # type: ignore[assignment]  # a dict, as DRF makes it
        known: dict[tuple[int, str], str] = context.setdefault("metric_labels", {})
        key = protocol.pk, value.metric
        if key not in known:
            known[key] = protocol.metric_label(value.metric)
        return known[key]


class EvaluationSerializer(JobSerializer):
    url = serializers.HyperlinkedIdentityField(view_name="api:evaluation-detail")
    experiment = serializers.IntegerField(source="sample_set.entry.experiment_id", read_only=True)
    entry = serializers.IntegerField(source="sample_set.entry_id", read_only=True)
    label = serializers.CharField(source="sample_set.entry.label", read_only=True)  # type: ignore[assignment]  # a field of the data
    algorithm = serializers.CharField(source="sample_set.entry.algorithm", read_only=True)
    sample_set = serializers.PrimaryKeyRelatedField[SampleSet](read_only=True)
    protocol = serializers.SlugRelatedField[Protocol](slug_field="fingerprint", read_only=True)
    values = MetricValueSerializer(many=True, read_only=True)

    class Meta:
        model = Evaluation
        fields = [
            *JOB_FIELDS,
            "label",
            "algorithm",
            "sample_set",
            "protocol",
            "step",
            "fraction",
            "values",
        ]


class JobEventSerializer(serializers.ModelSerializer[JobEvent]):
    class Meta:
        model = JobEvent
        fields = ["at", "kind", "attempt", "worker", "message"]
