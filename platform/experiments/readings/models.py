"""What an evaluation kept of the images on a contact sheet: SheetReading."""

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models


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
