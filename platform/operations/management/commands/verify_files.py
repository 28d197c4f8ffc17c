"""Whether files are what was written: `python manage.py verify_files`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from operations import garbage


class Command(BaseCommand):
    help = (
        "Read datasets, samples, extractors' weights and checkpoints, compare their sha256 with "
        "the recorded ones, and name each file that is damaged or gone."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        for text in garbage.damage():
            self.stderr.write(text)
            count += 1
        if count:
            raise CommandError(f"{count} damaged or missing")
        self.stdout.write("every file is as it was written")
