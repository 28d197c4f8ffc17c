"""Who leads at each budget, as its page has it."""

from typing import Any

from rest_framework import serializers

from leaderboards.budgeting.same_budget import Bucket, Leader, View


class BudgetLeaderSerializer(serializers.Serializer[Any]):
    """Who has the best mean of a metric, of those all of whose seeds have one."""

    metric = serializers.CharField(help_text="key of the column")
    entry = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    sampler = serializers.CharField()
    family = serializers.CharField()
    experiment = serializers.IntegerField()
    value = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    alike = serializers.IntegerField(help_text="others whose interval reaches into its own")
    unsure = serializers.BooleanField(help_text="no interval: nobody knows who is as good")


class BucketSerializer(serializers.Serializer[Any]):
    """Entries of one budget, apart from all others."""

    budget = serializers.CharField(help_text="in words")
    filter = serializers.CharField(
        allow_blank=True, help_text="`budget` of the board with these alone; empty: it has none"
    )
    entries = serializers.IntegerField()
    leaders = BudgetLeaderSerializer(many=True, help_text="a metric without one is left out")


class BudgetsSerializer(serializers.Serializer[Any]):
    """The leaders at each budget."""

    protocol = serializers.CharField(help_text="fingerprint of the board")
    by = serializers.CharField(help_text="what a budget is")
    metrics = serializers.ListField(child=serializers.CharField(), help_text="keys of columns")
    budgets = BucketSerializer(many=True)
    unknown = serializers.IntegerField(help_text="rows whose budget nobody knows")
    left_out = serializers.IntegerField(help_text="rows that were not looked at")
    judged_at = serializers.DateTimeField(
        required=False, help_text="when a large board was looked at, of which rows changed since"
    )
    waiting = serializers.IntegerField(required=False, help_text="how many rows changed since then")


def body_of(found: View, fingerprint: str) -> dict[str, Any]:
    metrics = [column.key for column in found.columns]
    since = {"judged_at": found.judged_at, "waiting": found.waiting} if found.waiting else {}
    return {
        "protocol": fingerprint,
        "by": found.by,
        "metrics": metrics,
        "budgets": [_bucket(each, metrics) for each in found.buckets],
        "unknown": found.unknown,
        "left_out": found.left_out,
        **since,
    }


def _bucket(bucket: Bucket, metrics: list[str]) -> dict[str, Any]:
    leaders = zip(metrics, bucket.leaders, strict=True)
    return {
        "budget": bucket.words,
        "filter": bucket.filter,
        "entries": bucket.entries,
        "leaders": [_leader(metric, each) for metric, each in leaders if each is not None],
    }


def _leader(metric: str, leader: Leader) -> dict[str, Any]:
    row, cell = leader.row, leader.cell
    return {
        "metric": metric,
        "entry": row.entry.pk,
        "label": row.entry.label,
        "sampler": row.sampler_label,
        "family": row.entry.family,
        "experiment": row.experiment.pk,
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "alike": leader.alike,
        "unsure": leader.unsure,
    }
