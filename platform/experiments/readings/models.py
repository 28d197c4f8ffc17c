"""What an evaluation leaves: its numbers, MetricValue; and what it saw on the sheet, SheetReading."""

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q


class MetricValue(models.Model):
    """One number of an evaluation with its interval; absent with a reason, never 0 instead."""

    evaluation = models.ForeignKey(
        "experiments.Evaluation", on_delete=models.CASCADE, related_name="values"
    )
    metric = models.CharField(max_length=50)
    value = models.FloatField(null=True, blank=True)
    bias_corrected = models.FloatField(null=True, blank=True)
    standard_error = models.FloatField(null=True, blank=True)
    low = models.FloatField(null=True, blank=True)  # 95 % interval
    high = models.FloatField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)  # why something is absent
    details = models.JSONField(default=dict, blank=True)  # what else is known of the value

    class Meta:
        ordering: ClassVar = ["evaluation_id", "metric"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["evaluation", "metric"], name="metricvalue_unique_per_evaluation"
            ),
            models.CheckConstraint(
                condition=Q(value__isnull=False) | ~Q(reason=""),
                name="metricvalue_absent_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric} = {self.value}"


class SheetReading(models.Model):
    """Of the first images of a sample set: their classes, and the training images nearest to them.

    Evaluations of before have none.
    """

    class Distance(models.TextChoices):
        FEATURES = "features", "the protocol's features"
        PIXELS = "pixels", "pixels"

    evaluation = models.OneToOneField(
        "experiments.Evaluation", on_delete=models.CASCADE, related_name="sheet_reading"
    )
    distance = models.CharField(max_length=20, choices=Distance.choices)
    nearest = models.JSONField()  # of each image, the index of a training image
    distances = models.JSONField()  # to these
    asked = models.JSONField(null=True, blank=True)  # its class as given, null where it has none
    predicted = models.JSONField(null=True, blank=True)  # by the protocol's features, likewise

    class Meta:
        ordering: ClassVar = ["evaluation_id"]

    def __str__(self) -> str:
        return f"sheet of {self.evaluation}"

    @property
    def path(self) -> Path:
        """The nearest training images as PNG, each where its image is on the contact sheet."""
        drawn = self.evaluation.sample_set
        name = f"{drawn.pk}-{drawn.attempt}-nearest-{self.evaluation_id}.png"
        return Path(settings.DATA_DIR) / "samples" / name
