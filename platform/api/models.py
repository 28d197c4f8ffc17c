"""What was answered to those who may ask again."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone


class Answer(models.Model):
    """The answer to a creation under an account's Idempotency-Key; it is kept for a day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    asked = models.CharField(max_length=64)  # sha256 of address and body
    status = models.PositiveSmallIntegerField(default=0)
    body = models.TextField(default="")  # JSON
    location = models.CharField(max_length=500, default="")
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="answer_key_unique_per_account")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"
