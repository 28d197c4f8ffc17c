"""Who may write."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class User(AbstractUser):
    pass


class LoginAttempt(models.Model):
    """A try to sign in that has not succeeded (yet); kept for as long as it counts."""

    name_digest = models.CharField(max_length=64)
    address = models.CharField(max_length=50)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    objects: ClassVar[models.Manager["LoginAttempt"]] = models.Manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["name_digest", "at"], name="loginattempt_name"),
            models.Index(fields=["address", "at"], name="loginattempt_address"),
        ]

    def __str__(self) -> str:
        return f"{self.address} at {self.at:%Y-%m-%d %H:%M:%S}"
