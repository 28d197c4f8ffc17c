"""What is to be expected of a job that is not finished: why it waits, and for how long it goes on."""

from typing import Any

from rest_framework import serializers

from experiments.lifetime import expected
from experiments.models import Run
from jobs.models import Job, Status


class OutlookSerializer(serializers.Serializer[Any]):
    """Where a job stands among others, and how long it will take; null where nobody knows."""

    status = serializers.ChoiceField(choices=Status.choices)
    waits = serializers.CharField(
        allow_blank=True, help_text="why it is not running yet, in words; empty unless it is queued"
    )
    ahead = serializers.IntegerField(
        allow_null=True, help_text="queued jobs that are taken before it; null unless it is queued"
    )
    percent = serializers.IntegerField(help_text="of its work")
    seconds_left = serializers.FloatField(
        allow_null=True, help_text="of a training, by its own progress"
    )
    expected_seconds = serializers.FloatField(
        allow_null=True, help_text="of a whole training that has not begun, by earlier ones"
    )
    expected_by = serializers.IntegerField(
        allow_null=True, help_text="earlier trainings that say so; 0: the budget itself does"
    )


def outlook(job: Job) -> dict[str, Any]:
    """Return what is to be expected of a run, a sample set or an evaluation."""
    left = job.seconds_left if isinstance(job, Run) else None
    is_open = isinstance(job, Run) and not job.is_finished and left is None
    whole = expected.of_run(job) if isinstance(job, Run) and is_open else None
    return {
        "status": job.status,
        "waits": job.waiting_for,
        "ahead": job.ahead() if job.status == Status.QUEUED else None,
        "percent": getattr(job, "percent", 0),
        "seconds_left": left,
        "expected_seconds": None if whole is None else whole.seconds,
        "expected_by": None if whole is None else whole.runs,
    }
