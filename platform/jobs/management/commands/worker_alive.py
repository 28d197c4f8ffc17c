"""Whether a worker of this host is alive: `python manage.py worker_alive`, for health checks."""

import platform
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.models import Worker


class Command(BaseCommand):
    help = "Exit with 0 if a worker of this host was seen within two beats, else with 1."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=platform.node(), help="default: this one")

    def handle(self, *args: Any, host: str, **options: Any) -> None:
        found = list(Worker.objects.filter(host=host))
        if not any(worker.is_alive for worker in found):
            raise CommandError(f"none of the {len(found)} workers known of {host} is alive")
        self.stdout.write("alive")
