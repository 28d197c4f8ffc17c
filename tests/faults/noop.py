"""The site's Celery application with work that is done at once, and a bare task beside it."""

import os
import time
from typing import Any

import django
import redis
from celery import shared_task

from config.celery import app

django.setup()

from experiments import pipeline  # noqa: E402  # needs the line above
from jobs import lifecycle  # noqa: E402  # and here

__all__ = ["app"]
CLIENT = redis.Redis.from_url(os.environ["BROKER_URL"])


def nothing(job: Any, heartbeat: Any) -> None:
    heartbeat.end()
    lifecycle.complete(job)


for name in ("train", "sample", "evaluate"):
    setattr(pipeline, name, nothing)


@shared_task
def bare() -> None:
    """Write down when it was done, where another process can see it."""
    CLIENT.rpush("done", time.time())
