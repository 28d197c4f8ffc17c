"""The site in one file: `python manage.py backup FILE.tar`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from catalog import stored
from operations import backups
from operations.backup_file import ArchiveError
from operations.databases import DatabaseCopyError


class Command(BaseCommand):
    help = (
        "Write the database and the files its rows refer to (datasets, extractors, checkpoints, "
        "samples) into one archive, while the site works. Logs, messages, caches and the secret "
        "key stay out, and so do files of a bucket, but not pipelines: none are in it. What rows refer to but is not there is named, and the rest is written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a new .tar file; keep it as safe as the site")

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            manifest = backups.write(file)
        except (OSError, Error, ArchiveError, DatabaseCopyError) as error:
            raise CommandError(f"nothing was written: {error}") from error
        for name in manifest.missing:
            self.stderr.write(f"missing: {name}")
        if stored.bucket():
            self.stderr.write(
                "The files are in the bucket, which keeps them: back it up there. Pipelines are in "
                "no bucket: those that entries are drawn from and that lie on this host are in here."
            )
        size = file.stat().st_size
        self.stdout.write(f"{file}: {len(manifest.files)} files, {size:,} bytes")
