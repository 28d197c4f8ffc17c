"""Who is told what, and how: wishes, webhooks, and each message on its way."""

import uuid
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from experiments.models import Experiment
from jobs.models import Status

ENDS = (Status.COMPLETED.value, Status.FAILED.value, Status.CANCELLED.value)  # of an experiment


class Preference(models.Model):
    """Which ends of its own experiments an account is told, and whether by e-mail, too."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="preference"
    )
    completed = models.BooleanField(default=False)
    failed = models.BooleanField(default=False)
    cancelled = models.BooleanField(default=False)
    email = models.BooleanField("by e-mail", default=True)

    def __str__(self) -> str:
        return f"what {self.user} is told"


class Watch(models.Model):
    """That somebody is told when one experiment ends, however it does; or never, whatever it prefers."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="watches"
    )
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="watches")
    wanted = models.BooleanField(default=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "experiment"], name="watch_unique_per_account_and_experiment"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user} of {self.experiment}: {'told' if self.wanted else 'not told'}"


class Webhook(models.Model):
    """An address that an account's messages are sent to.

    Its secret is not kept: it is made of the site's SECRET_KEY and `salt`, as `signing` says.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks"
    )
    url = models.CharField(max_length=500)
    salt = models.CharField(max_length=64)
    secret_digest = models.CharField(max_length=64)  # of the secret that was shown
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "url"], name="webhook_url_unique_per_account")
        ]

    def __str__(self) -> str:
        """Return whose it is and its host: what follows may be a secret of the receiver's."""
        return f"webhook of {self.user} to {urlsplit(self.url).hostname}"


class Delivery(models.Model):
    """One message to one receiver. It is written with what it tells, and sent by workers."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    message_id = models.UUIDField(default=uuid.uuid4, unique=True)  # the same at every attempt
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="deliveries"
    )
    webhook = models.ForeignKey(
        Webhook, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    email = models.CharField(max_length=254, blank=True)  # where there is no webhook
    experiment = models.ForeignKey(
        Experiment, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    event = models.CharField(max_length=50)  # experiment.completed
    body = models.TextField()  # JSON, as it is signed
    status = models.CharField(max_length=20, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    code = models.PositiveIntegerField(null=True, blank=True)  # HTTP's, of the last answer
    detail = models.CharField(max_length=300, blank=True)  # what came of the last attempt
    created_at = models.DateTimeField(default=timezone.now)
    next_at = models.DateTimeField(default=timezone.now)  # not tried before
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(fields=["next_at"], condition=Q(status="waiting"), name="delivery_due"),
            models.Index(fields=["user", "-id"], name="delivery_of_account"),
            models.Index(fields=["ended_at"], name="delivery_ended"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(webhook__isnull=False, email="")
                | (Q(webhook__isnull=True) & ~Q(email="")),
                name="delivery_has_one_receiver",
            ),
            models.CheckConstraint(
                condition=Q(status="waiting", ended_at__isnull=True)
                | (~Q(status="waiting") & Q(ended_at__isnull=False)),
                name="delivery_ended_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.message_id}"

    @property
    def to(self) -> str:
        """Return where it goes, in words."""
        return urlsplit(self.webhook.url).hostname or "" if self.webhook else self.email
