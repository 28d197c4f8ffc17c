"""A site from its backup: `python manage.py restore FILE.tar`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from operations import backups
from operations.backup_file import ArchiveError
from operations.databases import DatabaseCopyError

EXPECTED = (OSError, Error, ArchiveError, DatabaseCopyError, backups.OccupiedError)


class Command(BaseCommand):
    help = (
        "Put a backup in place: into an empty site, or with --force instead of what is there. "
        "Every file is verified first; on an error nothing changes. Stop the site before."
    )
    requires_system_checks: list[str] = []  # the database may not be there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="as `backup` wrote it")
        parser.add_argument("--force", action="store_true", help="replace the site that is here")

    def handle(self, *args: Any, file: Path, force: bool, **options: Any) -> None:
        try:
            manifest = backups.restore(file, force=force)
        except EXPECTED as error:
            raise CommandError(f"nothing was restored: {error}") from error
        for name in manifest.missing:
            self.stderr.write(f"missing in the backup: {name}")
        self.stdout.write(f"{file}: {len(manifest.files)} files, of {manifest.created_at}")
        self.stdout.write("Next: python manage.py migrate")
