"""Files that nothing refers to: `python manage.py collect_garbage [--dry-run]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog import stored
from experiments.intake import asking
from experiments.uploads import files
from notifications import outbox
from operations import garbage


class Command(BaseCommand):
    help = (
        "Delete files in the data folder that no row refers to: what deleted experiments and "
        "attempts that came to nothing left behind, uploads that nobody goes on with, datasets that nobody registers and messages of long ago. Files of jobs that have not completed, and "
        "those of the last hour, stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would go, delete nothing"
        )
        parser.add_argument(
            "--keep-checkpoints",
            type=int,
            metavar="K",
            help="of ended trainings keep the newest K checkpoints and all that were sampled",
        )

    def handle(
        self, *args: Any, dry_run: bool, keep_checkpoints: int | None, **options: Any
    ) -> None:
        if keep_checkpoints is not None and keep_checkpoints < 0:
            raise CommandError(f"expected --keep-checkpoints of at least 0, got {keep_checkpoints}")
        count = size = 0
        try:
            if not dry_run:
                files.forget_expired()
                asking.forget_ended()
                outbox.forget_old()
            for name, file_bytes in garbage.find(keep_checkpoints=keep_checkpoints):
                self.stdout.write(name)
                count, size = count + 1, size + file_bytes
                if not dry_run:
                    stored.remove(name)
        except stored.BucketError as error:
            raise CommandError(error.strerror) from error
        self.stdout.write(f"{count} files, {size:,} bytes{' would go' if dry_run else ' deleted'}")
