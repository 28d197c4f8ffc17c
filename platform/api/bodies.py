"""Bodies that are no rows: submissions, refusals, counts, leaderboards."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.options import config_schema, samplers_schema
from api.serializers import BudgetSerializer
from experiments.submission.external import MAX_SETS
from experiments.submission.specification import MAX_ENTRIES, MAX_MEMORY_GB, MAX_SEED, MAX_SEEDS
from experiments.tags.words import LONGEST, MOST, WANTED, WORD
from experiments.uploads.files import SUFFIXES
from generators.specs import registry
from generators.specs.algorithms import PRESETS


@extend_schema_field(config_schema())
class ConfigField(serializers.DictField):
    """What differs from the preset, or from the defaults."""


@extend_schema_field(samplers_schema())
class SamplersField(serializers.ListField):
    """Ways to sample; by default the algorithm's own."""


class TagsField(serializers.ListField):
    """Words that an experiment is found by."""

    def __init__(self, **options: Any) -> None:
        words = serializers.RegexField(f"^{WORD.pattern}$", max_length=LONGEST)
        told = f"words that it is found by: {WANTED}; capitals become small"
        super().__init__(child=words, max_length=MOST, help_text=told, **options)


class EntrySubmissionSerializer(serializers.Serializer[Any]):
    """A contender; fields of `config` and `samplers` are those of `python -m generators list`.

    Its configuration is the algorithm's defaults, then the preset's values, then those of `config`.
    The entry keeps it whole: a preset that changes later changes no experiment. A pipeline that was
    trained elsewhere has instead of an algorithm its folder, or its hub id with a revision.
    """

    algorithm = serializers.ChoiceField(
        required=False, choices=registry.algorithm_names(), help_text="or a pipeline"
    )
    pipeline = serializers.CharField(
        required=False,
        max_length=200,
        help_text="instead of an algorithm: a folder of `pipelines/` in the site's storage, or a hub id",
    )
    revision = serializers.RegexField(
        "^[0-9a-f]{40}$", required=False, help_text="of a hub's pipeline: a commit, 40 hex digits"
    )
    label = serializers.CharField(required=False, max_length=100)  # type: ignore[assignment]  # a field of the data
    preset = serializers.ChoiceField(
        required=False,
        allow_null=True,
        choices=PRESETS,
        help_text="a named setting of the algorithm that takes the place of its defaults",
    )
    config = ConfigField(required=False)
    grid = serializers.DictField(
        required=False,
        help_text="options of `config` to several values each, a list or a text such as `1, 2, 4`, "
        "`1..8 step 1`, `1e-4..1e-2 log 5`: stands for an entry of each combination",
    )
    search = serializers.DictField(
        required=False,
        help_text="looks for good values of options: `options` with ranges (`1e-4..1e-2 log`), "
        "`objective` a metric, `trials`, `method` random or tpe, `runs` of each trial (1), `seed` (0); "
        "each trial is an entry; the best is run again with fresh seeds, which is what boards rank",
    )
    samplers = SamplersField(child=serializers.DictField(), required=False, max_length=20)


class SubmissionSerializer(serializers.Serializer[Any]):
    """An experiment to submit; every wrong value is refused at its field."""

    name = serializers.CharField(max_length=200)
    dataset = serializers.SlugField(help_text="slug of a registered dataset")
    protocols = serializers.ListField(
        child=serializers.CharField(min_length=8, max_length=64),
        min_length=1,
        help_text="protocols of that dataset: fingerprints, their beginnings, or names that only one has",
    )
    budget = BudgetSerializer(required=False, help_text="none where all entries are pipelines")
    seeds = serializers.JSONField(
        required=False,
        help_text=f"how many, at most {MAX_SEEDS}, or a list of so many different whole numbers "
        f"of 0 to {MAX_SEED:,}",
    )
    memory_gb = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_MEMORY_GB,
        help_text="only workers whose device has so much train and sample; 0 = all",
    )
    tags = TagsField(required=False)
    notify = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text="whether you are told when it ends; null: as your account prefers",
    )
    entries = EntrySubmissionSerializer(
        many=True, help_text=f"1 to {MAX_ENTRIES}; those of a grid are counted one by one"
    )


class DeviceCostSerializer(serializers.Serializer[Any]):
    """Device-seconds on one device, from what was trained and drawn there before."""

    host = serializers.CharField(help_text="`any device` where the budget says the time")
    device = serializers.CharField(allow_blank=True)
    seconds = serializers.FloatField(help_text="for all seeds; scoring comes on top")
    runs = serializers.IntegerField(help_text="earlier runs, or draws, that it rests on")
    with_draws = serializers.BooleanField(help_text="whether drawing samples is in it")


class CostSerializer(serializers.Serializer[Any]):
    """What an entry, or all of them, will cost on each device that is known; none = unknown."""

    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    estimates = DeviceCostSerializer(many=True)


class RehearsalSerializer(serializers.Serializer[Any]):
    """What a submission would make."""

    spec = SubmissionSerializer(help_text="complete: with what presets and defaults say now")
    runs = serializers.IntegerField()
    jobs = serializers.IntegerField(help_text="runs, sample sets and evaluations, with controls")
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="what entries cannot learn, and why"
    )
    costs = CostSerializer(many=True, help_text="of each entry, from past runs of this site")
    total = CostSerializer()


class TagsSerializer(serializers.Serializer[Any]):
    """What of an experiment can be changed."""

    tags = TagsField(required=True)


class ExternalSubmissionSerializer(serializers.Serializer[Any]):
    """Samples that were made elsewhere: of an experiment, or of a new one under protocols."""

    manifest = serializers.CharField(
        help_text="YAML or JSON, as text or as a file: system, version, date, made_by, chosen, "
        "post_processing, licence, hardware, costs, seeds; only the system is needed"
    )
    files = serializers.ListField(
        child=serializers.FileField(),
        required=False,
        min_length=1,
        max_length=MAX_SETS,
        help_text=f"one for each seed: {', '.join(SUFFIXES)}",
    )
    uploads = serializers.ListField(
        child=serializers.UUIDField(),
        required=False,
        min_length=1,
        max_length=MAX_SETS,
        help_text="in place of files, the ids of whole uploads, one for each seed",
    )
    experiment = serializers.CharField(
        required=False, help_text="name or number of the one that the entry joins"
    )
    protocols = serializers.ListField(
        child=serializers.CharField(min_length=8, max_length=64),
        required=False,
        help_text="fingerprints, or their beginnings, of a new experiment",
    )
    name = serializers.CharField(
        required=False, max_length=200, help_text="of the new experiment; by default the label"
    )
    label = serializers.CharField(  # type: ignore[assignment]  # a field of the data
        required=False, max_length=100, help_text="on boards; by default the system, its version"
    )


class ProblemSerializer(serializers.Serializer[Any]):
    """Why a request was refused: problem details, RFC 9457."""

    type = serializers.CharField(help_text="`about:blank`: the status says all there is to tell")
    title = serializers.CharField(help_text="the status in words")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="why, in a sentence")
    errors = serializers.DictField(  # type: ignore[assignment]  # a field of the data
        child=serializers.CharField(),
        required=False,
        help_text="of a 400 or 422: every wrong field by its dotted path, `entries.0.config.beta`",
    )


class ComparisonSerializer(serializers.Serializer[Any]):
    """Whether values under two protocols may be compared, and in words why not."""

    comparable = serializers.BooleanField()
    differences = serializers.ListField(
        child=serializers.CharField(), help_text="what differs: the first protocol's, the other's"
    )


class CountSerializer(serializers.Serializer[Any]):
    """How many jobs changed."""

    jobs = serializers.IntegerField()


class BoardLinkSerializer(serializers.Serializer[Any]):
    """One leaderboard: the protocol it measures by and where its rows are."""

    fingerprint = serializers.CharField()
    name = serializers.CharField()
    board_name = serializers.CharField(help_text="whose images, and how they are judged")
    dataset = serializers.CharField()
    num_images = serializers.IntegerField()
    entries = serializers.IntegerField(help_text="entries measured by it, without controls")
    url = serializers.URLField()
    csv = serializers.URLField()


class ColumnSerializer(serializers.Serializer[Any]):
    """What stands in a column; `field` is the key of its value in every row."""

    key = serializers.CharField()
    field = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    unit = serializers.CharField(allow_blank=True)
    higher_is_better = serializers.BooleanField()
    ideal = serializers.FloatField(
        allow_null=True, help_text="the best value, where it is neither the highest nor the lowest"
    )
    corner = serializers.ChoiceField(choices=["quality", "coverage", "memorisation", "cost"])
    headline = serializers.BooleanField(help_text="whether the page shows it at first")
    help = serializers.CharField()


class BoardSerializer(serializers.Serializer[Any]):
    """A whole leaderboard at full precision, the same rows as its page and its CSV.

    `rank` is that of the sorted column, with the range that the errors of all rows leave; under a
    metric, rows with lost seeds rank behind all rows without. Controls have no rank; `control_kind`
    says which one a row is (test, copy, noise, blur). A row names its `experiment_id` and `entry_id`
    (of a control that stands once for all: those of the one whose numbers these are), its
    `submitter` and `seeds` ("0 1 2"; of sets that were handed in their numbers), both "" of a
    control. By column, `details` holds what else is known of a value for each scored seed, and
    `judgements` its rank, range and what is marked. `unranked` has the columns without ranks, each
    with the reason. Of a part of a board, `rows_in_all` counts the rows that were asked for on all
    pages, and `begin` those before these. Where rows changed
    since a large board was judged, `waiting` counts them and `judged_at` says when that was.
    Entries are ranked among those of one of the `budgets`, and stand by them where `grouped`. What is
    odd about samples that were not made here is in `findings`.
    """

    protocol = serializers.CharField()
    name = serializers.CharField()
    board_name = serializers.CharField(help_text="whose images, and how they are judged")
    dataset = serializers.CharField()
    num_images = serializers.IntegerField()
    experiment = serializers.IntegerField(allow_null=True)
    sort = serializers.CharField()
    columns = ColumnSerializer(many=True)
    budgets = serializers.ListField(
        child=serializers.CharField(), help_text="of its contenders, as the filter has them"
    )
    grouped = serializers.BooleanField(help_text="whether rows stand by their budgets")
    unranked = serializers.DictField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.DictField())
    rows_in_all = serializers.IntegerField(required=False)
    begin = serializers.IntegerField(required=False)
    judged_at = serializers.DateTimeField(required=False, allow_null=True)
    waiting = serializers.IntegerField(required=False)
    baseline = serializers.CharField(required=False, help_text="what rows are compared with")
    as_of = serializers.DateField(required=False)


class AxisSerializer(serializers.Serializer[Any]):
    """What an axis of the guidance curve measures; more is better."""

    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    help = serializers.CharField()


class EstimateSerializer(serializers.Serializer[Any]):
    """A mean over training seeds with its 95 % interval; absent with a reason."""

    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)


class PointSerializer(serializers.Serializer[Any]):
    """One entry with one sampler."""

    name = serializers.CharField(help_text="as the chart has it: `w=2`, `ceiling`, or the entry")
    sampler = serializers.CharField()
    guidance = serializers.FloatField(
        allow_null=True, help_text="scale of classifier-free guidance; null where there is none"
    )
    role = serializers.ChoiceField(choices=["ceiling", "floor"], allow_blank=True)
    seeds_scored = serializers.IntegerField()
    seeds_total = serializers.IntegerField()
    following = EstimateSerializer()
    diversity = EstimateSerializer()


class CurveSerializer(serializers.Serializer[Any]):
    """Points that differ only in guidance, in its order."""

    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    entry = serializers.IntegerField()
    family = serializers.CharField()
    family_label = serializers.CharField()
    points = PointSerializer(many=True)


class GuidanceSerializer(serializers.Serializer[Any]):
    """How well prompts are followed against how varied the images of one prompt are."""

    protocol = serializers.CharField()
    experiment = serializers.IntegerField(allow_null=True)
    following = AxisSerializer()
    diversity = AxisSerializer()
    curves = CurveSerializer(many=True)
