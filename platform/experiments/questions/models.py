"""What people ask of workers: words for models to draw (Question), how one makes images (Viewing)."""

from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job


class Question(Job):
    """What would each entry draw for these words? Image i of each is drawn from one seed.

    It cannot be retried: asking again counts towards what one person may ask.
    """

    task_name = "experiments.tasks.answer_question"
    keeps_timeline = False
    urgency = 3  # a person waits for it, and it is bounded

    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.CASCADE, related_name="questions"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    text = models.CharField(max_length=200)
    training_seed = models.PositiveIntegerField()  # of the runs that draw
    images = models.PositiveSmallIntegerField()  # of each entry
    first_seed = models.PositiveBigIntegerField(default=0)  # image i has the seed first_seed + i
    entries_total = models.PositiveIntegerField()
    entries_done = models.PositiveIntegerField(default=0)
    judge = models.CharField(max_length=50, blank=True)  # who reads the images, "" = nobody
    answers = models.JSONField(default=list, blank=True)  # one for each entry, as `work` has it
    sha256 = models.CharField(max_length=64, blank=True)  # of the sheet

    class Meta(Job.Meta):
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"“{self.text}”"

    def get_absolute_url(self) -> str:
        return reverse("question", args=[self.pk])

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.images)

    @property
    def percent(self) -> int:
        return 100 * self.entries_done // max(1, self.entries_total)

    @property
    def can_retry(self) -> bool:
        return False

    @property
    def path(self) -> Path:
        """All images in one PNG, a row for each entry that drew; each attempt has its own."""
        return Path(settings.DATA_DIR) / "answers" / f"{self.pk}-{self.attempt}.png"


class Viewing(Job):
    """A look into how a trained model makes images: pictures in rows over frames, in one PNG.

    `facts` has the numbers of each frame. Like a question it cannot be retried: asking again counts towards what one person may ask.
    """

    task_name = "experiments.tasks.compute_viewing"
    keeps_timeline = False
    urgency = 3  # a person waits for it, and it is bounded

    run = models.ForeignKey("experiments.Run", on_delete=models.CASCADE, related_name="viewings")
    kind = models.CharField(max_length=20)  # a key of `viewings.kinds.VIEWERS`
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+"
    )  # null: drawn before anybody asked
    created_at = models.DateTimeField(default=timezone.now)
    first = models.PositiveBigIntegerField(default=0)  # seed, or place in the test split
    told = models.CharField(max_length=200, blank=True)  # a class's number or a prompt, "" = any
    sampler = models.JSONField(default=dict, blank=True)  # one of the entry's, {} = none is used
    sampler_label = models.CharField(max_length=100, blank=True)
    fraction = models.FloatField(default=0.0)  # 0..1
    facts = models.JSONField(default=dict, blank=True)  # as `viewings.work` has them
    sha256 = models.CharField(max_length=64, blank=True)  # of the sheet

    class Meta(Job.Meta):
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            *Job.Meta.indexes,
            models.Index(fields=["run", "kind"], name="viewing_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.run}"

    def get_absolute_url(self) -> str:
        return reverse("viewing", args=[self.pk])

    @property
    def percent(self) -> int:
        return int(100 * self.fraction)

    @property
    def can_retry(self) -> bool:
        return False

    @property
    def path(self) -> Path:
        """All pictures in one PNG, a row for each track; each attempt has its own."""
        return Path(settings.DATA_DIR) / "viewings" / f"{self.pk}-{self.attempt}.png"
