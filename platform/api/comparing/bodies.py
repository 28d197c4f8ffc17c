"""Bodies of comparisons."""

from typing import Any

from rest_framework import serializers

KEY = "what stands for the entry in `entries`: `12`, or `12:DDIM 50` where 12 has several samplers"


class SideSerializer(serializers.Serializer[Any]):
    """One entry with one sampler."""

    key = serializers.CharField(help_text=KEY)
    id = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    sampler = serializers.CharField(allow_blank=True)
    family = serializers.CharField()
    algorithm = serializers.CharField(allow_blank=True)
    kind = serializers.CharField()
    experiment = serializers.IntegerField()
    dataset = serializers.CharField()


class ConfigurationSerializer(serializers.Serializer[Any]):
    """One field over the entries."""

    name = serializers.CharField()
    differs = serializers.BooleanField()
    values = serializers.ListField(
        child=serializers.CharField(allow_null=True),
        help_text="in the order of `entries`; null where an entry has no such field",
    )


class DifferenceSerializer(serializers.Serializer[Any]):
    """How much more a value is than the baseline's, with the 95 % interval of that."""

    value = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)


class ComparedSerializer(serializers.Serializer[Any]):
    """One entry's number: the mean over its seeds with its 95 % interval."""

    entry = serializers.CharField(help_text="its key")
    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    interval_of = serializers.CharField(allow_blank=True, help_text="seeds or images")
    seeds = serializers.IntegerField(help_text="those with a value")
    declared = serializers.FloatField(allow_null=True, help_text="a cost that nobody measured here")
    reason = serializers.CharField(allow_blank=True, help_text="why something is absent")
    remarks = serializers.ListField(child=serializers.CharField(), help_text="what is marked")
    difference = DifferenceSerializer(allow_null=True, help_text="to the baseline")
    ratio = serializers.FloatField(allow_null=True, help_text="of a cost to the baseline's")
    verdict = serializers.ChoiceField(
        choices=["better", "worse", "differs"],
        allow_blank=True,
        help_text="empty unless the difference's interval excludes 0; `differs`: neither merit nor fault",
    )
    why = serializers.CharField(
        allow_blank=True, help_text="why there is no difference, or no verdict"
    )


class ComparedMetricSerializer(serializers.Serializer[Any]):
    """One metric or cost of the entries that are scored under a protocol."""

    key = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    corner = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    higher_is_better = serializers.BooleanField()
    ideal = serializers.FloatField(allow_null=True)
    values = ComparedSerializer(many=True)


class ComparedBoardSerializer(serializers.Serializer[Any]):
    """What one protocol says of the entries that are scored under it."""

    protocol = serializers.CharField(help_text="its fingerprint")
    name = serializers.CharField()
    board_name = serializers.CharField(help_text="whose images, and how they are judged")
    dataset = serializers.CharField()
    num_images = serializers.IntegerField()
    seeds = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()),
        help_text="by the key of each entry: scored, total, failed",
    )
    metrics = ComparedMetricSerializer(many=True)


class StrangerSerializer(serializers.Serializer[Any]):
    """An entry whose numbers may not be compared with the baseline's."""

    entry = serializers.CharField(help_text="its key")
    reasons = serializers.ListField(child=serializers.CharField())


class SharesSerializer(serializers.Serializer[Any]):
    """How one entry's samples spread over classes: means over its seeds."""

    entry = serializers.CharField(help_text="its key")
    seeds = serializers.IntegerField(help_text="whose samples were counted")
    shares = serializers.ListField(child=serializers.FloatField(), help_text="in order of `names`")


class ClassesSerializer(serializers.Serializer[Any]):
    """Shares of classes, 0 to 1, as a protocol's features predict them, for real images too."""

    protocol = serializers.CharField(help_text="its fingerprint")
    names = serializers.ListField(child=serializers.CharField())
    real = serializers.ListField(child=serializers.FloatField(), help_text="of its reference")
    entries = SharesSerializer(many=True, help_text="those whose classes were counted")


class CompareSerializer(serializers.Serializer[Any]):
    """Entries side by side."""

    baseline = serializers.CharField(help_text="the key of one of the entries")
    entries = SideSerializer(many=True)
    configuration = ConfigurationSerializer(many=True)
    boards = ComparedBoardSerializer(many=True)
    classes = ClassesSerializer(many=True, help_text="of each protocol that counts classes")
    not_comparable = StrangerSerializer(many=True)


class LossCurveSerializer(serializers.Serializer[Any]):
    """One entry's losses: the mean over its seeds at each place, with its interval."""

    entry = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    seeds = serializers.IntegerField()
    x = serializers.ListField(child=serializers.FloatField())
    mean = serializers.ListField(child=serializers.FloatField(allow_null=True))
    low = serializers.ListField(
        child=serializers.FloatField(allow_null=True),
        help_text="95 % interval by Student's t; null where fewer than two seeds are",
    )
    high = serializers.ListField(child=serializers.FloatField(allow_null=True))
    raw = serializers.ListField(
        child=serializers.FloatField(allow_null=True),
        help_text="the mean before it was smoothed; empty where nothing is",
    )
    n = serializers.ListField(child=serializers.IntegerField(), help_text="seeds at each place")


class LossCurvesSerializer(serializers.Serializer[Any]):
    """Losses of one name; those of different algorithms measure different things."""

    loss = serializers.CharField(allow_blank=True)
    words = serializers.CharField(allow_blank=True, help_text="what that is, as pages say it")
    x = serializers.CharField(help_text="what `x` counts, in words")
    scale = serializers.CharField()
    curves = LossCurveSerializer(many=True)
