"""The rows of all boards, written anew from values and jobs: `python manage.py rescore`."""

from typing import Any

from django.core.management.base import BaseCommand

from catalog.models import Protocol
from leaderboards.scores import anew, keeping


class Command(BaseCommand):
    help = (
        "Write the rows of all boards anew from values and jobs, and say how many were not as "
        "these say. They follow by themselves; this is for after an algorithm's package was "
        "installed or removed, or whenever in doubt."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = sum(keeping.rescore(), keeping.Changes())
        anew.forget(list(Protocol.objects.values_list("pk", flat=True)))
        self.stdout.write(
            f"{found.added:,} rows added, {found.mended:,} mended, {found.removed:,} removed"
        )
