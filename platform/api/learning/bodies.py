"""Bodies of what boards say together."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

VERDICTS = "yes, no, undecided, or not enough data"


class EffectSerializer(serializers.Serializer[Any]):
    """A ratio or a difference with its 95 % interval; null where nothing is known."""

    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)


class ClaimBoardSerializer(serializers.Serializer[Any]):
    """What one board says at one budget."""

    protocol = serializers.CharField(help_text="its fingerprint")
    name = serializers.CharField()
    board_name = serializers.CharField(help_text="whose images, and how they are judged")
    dataset = serializers.CharField()
    budget = serializers.CharField(help_text="in words")
    metric = serializers.CharField()
    device = serializers.CharField(allow_blank=True, help_text="empty where none matters")
    ours = serializers.IntegerField(help_text="entries of the one side")
    theirs = serializers.IntegerField(help_text="entries of the other")
    effect = EffectSerializer()


class ClaimPartSerializer(serializers.Serializer[Any]):
    """One comparison that a sentence stands on."""

    words = serializers.CharField()
    is_ratio = serializers.BooleanField(help_text="else a difference")
    decides = serializers.BooleanField(help_text="else it can only contradict")
    verdict = serializers.CharField(help_text=VERDICTS)
    reason = serializers.CharField(allow_blank=True, help_text="why there is no verdict")
    effect = EffectSerializer(allow_null=True)
    datasets = serializers.IntegerField()
    only_dataset = serializers.CharField(
        allow_blank=True, help_text="where all comparisons are on one"
    )
    comparisons = serializers.IntegerField(help_text="boards, by their budgets")
    entries = serializers.IntegerField()
    lost = serializers.IntegerField(help_text="entries that lost seeds and count as the worst")
    boards = ClaimBoardSerializer(many=True, help_text="the first 20")


class ClaimSerializer(serializers.Serializer[Any]):
    """A sentence of textbooks with what this site's boards say of it."""

    key = serializers.CharField()
    text = serializers.CharField()
    about = serializers.CharField(help_text="what is taken for what")
    verdict = serializers.CharField(help_text=VERDICTS)
    only_dataset = serializers.CharField(allow_blank=True)
    parts = ClaimPartSerializer(many=True)


@extend_schema_serializer(many=False)
class ClaimsSerializer(serializers.Serializer[Any]):
    """All sentences."""

    found_at = serializers.DateTimeField(
        allow_null=True, help_text="null where nobody compared yet"
    )
    claims = ClaimSerializer(many=True)


class AdvisedSerializer(serializers.Serializer[Any]):
    """One entry that fits."""

    entry = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    sampler = serializers.CharField()
    family = serializers.CharField()
    experiment = serializers.IntegerField()
    quality = EffectSerializer(allow_null=True, help_text="null where the board has none")
    coverage = EffectSerializer(allow_null=True)
    seconds_per_image = serializers.FloatField(allow_null=True, help_text="of whole batches")
    training_seconds = serializers.FloatField(allow_null=True)
    device = serializers.CharField(allow_blank=True, help_text="of its training")
    seeds_scored = serializers.IntegerField()
    seeds_total = serializers.IntegerField()
    yaml = serializers.CharField(help_text="a submission that trains it again")


@extend_schema_serializer(many=False)
class AdviceSerializer(serializers.Serializer[Any]):
    """The entries of a board that fit, the best by quality first."""

    protocol = serializers.CharField(help_text="fingerprint of the board")
    board_name = serializers.CharField(help_text="whose images, and how they are judged")
    quality = serializers.CharField(allow_null=True, help_text="key of the metric")
    coverage = serializers.CharField(allow_null=True, help_text="key of the metric")
    fitting = serializers.IntegerField()
    unfit = serializers.IntegerField(help_text="measured: too slow, or too long to train")
    unmeasured = serializers.IntegerField(help_text="not on this device: nobody knows")
    of_best = serializers.IntegerField(
        allow_null=True, help_text="the three are of so many of the best; null: of all"
    )
    entries = AdvisedSerializer(many=True, help_text="the first 10")
