"""Celery's side: every worker sends what waits, beside its jobs."""

from jobs import beside
from notifications.sending import send_due

beside.every_beat(send_due)
