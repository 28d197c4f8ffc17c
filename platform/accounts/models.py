"""Who may do what, and who did it."""

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.utils import timezone


class Role(models.TextChoices):
    """What an account is for; each may do what those before it may."""

    VIEWER = "viewer", "viewer: reads"
    SUBMITTER = "submitter", "submitter: submits, cancels and retries what is its own"
    ADMIN = "admin", "admin: everything, for everybody"


class Accounts(UserManager["User"]):
    use_in_migrations = False

    def create_superuser(self, *args: Any, **fields: Any) -> "User":
        return super().create_superuser(*args, **{**fields, "role": Role.ADMIN})


class User(AbstractUser):
    """An account. Its role alone says what it may do; Django's own flags follow from it."""

    role = models.CharField(max_length=20, choices=Role.choices, default=Role.VIEWER)

    objects: ClassVar[Accounts] = Accounts()

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.is_superuser = self.role == Role.ADMIN
        self.is_staff = self.role != Role.VIEWER  # may open the admin: the form is there
        super().save(*args, **kwargs)


class AuditEvent(models.Model):
    """One deed of somebody; rows are only ever added, and outlive what they are about."""

    class Action(models.TextChoices):
        SUBMITTED = "submitted"
        CANCELLED = "cancelled"
        RETRIED = "retried"
        ORDERED = "ordered"  # a worker to drain, stop or go on
        ADDED = "added"  # in the admin: accounts, tokens
        CHANGED = "changed"
        DELETED = "deleted"

    at = models.DateTimeField(default=timezone.now, db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    actor_name = models.CharField(max_length=150)  # also of an account that is gone
    action = models.CharField(max_length=20, choices=Action.choices)
    kind = models.CharField(max_length=50)  # of the thing: experiment, run, worker, user
    object_id = models.CharField(max_length=50)
    object_name = models.CharField(max_length=200)
    detail = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.kind} {self.object_name}"


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
