"""What people bring through the browser: files on their way, and what a worker makes of them."""

import uuid
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job


class Intake(Job):
    """Files or a form that somebody handed in, for a worker to look at.

    `asked` is what its author typed, `found` what came of it, as `experiments.intake.work` has them.
    A dataset is inspected first; its registration is an intake of its own, after a person looked.
    """

    class Kind(models.TextChoices):
        SAMPLES = "samples"
        DATASET = "dataset", "dataset to look at"
        REGISTRATION = "registration", "dataset to register"
        PROTOCOL = "protocol"

    task_name = "experiments.tasks.take_in"
    keeps_timeline = False
    urgency = 3  # a person waits for it, and it is bounded

    kind = models.CharField(max_length=20, choices=Kind.choices)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="registrations"
    )
    asked = models.JSONField(default=dict)
    found = models.JSONField(default=dict, blank=True)
    step = models.CharField(max_length=200, blank=True)  # what it is at, in words
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)  # 0 = not known

    class Meta(Job.Meta):
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.title}".strip()

    def get_absolute_url(self) -> str:
        return reverse("intake", args=[self.of_id or self.pk])

    @property
    def title(self) -> str:
        """Return what its author calls it."""
        named: Any = self.asked.get("name") or self.asked.get("label")
        said: Any = self.asked.get("manifest") or {}
        return str(named or said.get("system") or self.asked.get("dataset") or "")

    @property
    def percent(self) -> int:
        return min(100, 100 * self.done // self.total) if self.total else 0

    @property
    def folder(self) -> Path:
        """Where a dataset waits that was inspected; each attempt has its own."""
        return Path(settings.DATA_DIR) / "intake" / f"{self.pk}-{self.attempt}"

    @property
    def picture(self) -> Path:
        """Some images of that dataset."""
        return self.folder / "preview.png"


class Upload(models.Model):
    """A file that an account sends in pieces. How much of it is here, the file itself says."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)  # as its owner calls it
    length = models.PositiveBigIntegerField()  # bytes of the whole file
    fingerprint = models.CharField(max_length=200, blank=True)  # by which its owner finds it again
    intake = models.ForeignKey(
        Intake, null=True, blank=True, on_delete=models.SET_NULL, related_name="uploads"
    )
    place = models.PositiveSmallIntegerField(default=0)  # among the files of its intake
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["place", "created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return Path(settings.DATA_DIR) / "uploads" / self.id.hex

    @property
    def offset(self) -> int:
        """Return how many bytes of the file are here."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    @property
    def is_whole(self) -> bool:
        return self.offset == self.length

    @property
    def percent(self) -> int:
        return 100 * self.offset // self.length
