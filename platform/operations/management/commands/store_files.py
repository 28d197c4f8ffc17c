"""Every file that rows refer to, into the bucket: `python manage.py store_files`."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from catalog import stored
from catalog.models import StoredFile
from jobs import kept_log
from operations import holdings

KINDS = {
    "answers": StoredFile.Kind.PICTURE,
    "datasets": StoredFile.Kind.DATASET,
    "extractors": StoredFile.Kind.EXTRACTOR,
    "intake": StoredFile.Kind.DATASET,
    "runs": StoredFile.Kind.CHECKPOINT,
    "samples": StoredFile.Kind.SAMPLES,
    "submissions": StoredFile.Kind.SUBMISSION,
    "viewings": StoredFile.Kind.PICTURE,
}  # not uploads, which go on growing; nor pipelines: each host has those that it draws from


class Command(BaseCommand):
    help = (
        "Upload the files in the data folder that rows refer to into the bucket that S3_BUCKET "
        "names, for a site that had none; where there is no bucket, write their rows."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = self._keep_all()
        except stored.BucketError as error:
            raise CommandError(f"not all was kept, run this again: {error.strerror}") from error
        self.stdout.write(f"{count} files kept")

    def _keep_all(self) -> int:
        kept = set(StoredFile.objects.values_list("path", flat=True))
        count = 0
        for path in sorted({path for holding in holdings.find() for path in holding.files}):
            folder = path.relative_to(settings.DATA_DIR).parts[0]
            is_new = stored.bucket() or stored.name_of(path) not in kept
            if folder == kept_log.FOLDER and stored.bucket():
                stored.put(path)  # has no row
                count += 1
            elif folder in KINDS and path.is_file() and is_new:
                is_picture = path.suffix == ".png"
                stored.keep(path, StoredFile.Kind.PICTURE if is_picture else KINDS[folder])
                count += 1
        return count
