"""Register a dataset from a file, a folder, torchvision or what is packaged."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog import preparation
from catalog.engine import RegistrationError
from catalog.models import Dataset
from catalog.services import PreparedDataset, register_dataset, slug_of
from catalog.stored import BucketError


class Command(BaseCommand):
    help = (
        "Register a dataset: read its images, store them once as uint8 arrays under the data "
        "folder, and keep sizes, classes, digest, source and licence. Folders, .zip and .tar "
        "archives hold PNG, JPEG or WebP files as train/<class>/* and test/<class>/*, <class>/* or "
        "images alone; labels and captions may be in metadata.csv or metadata.jsonl beside them "
        "(file_name, label, text), or in 1.cls and 1.txt beside 1.png. Read as well: parquet tables with a column of image files, one or a folder of "
        "them, and arrays in .npz and .npy. Hidden files, text and a validation part are left out, "
        "which is said. Whatever is damaged, mixed, hostile or of another kind is refused and "
        "leaves nothing behind."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="for people; its slug, in lower case, is for machines")
        origin = parser.add_mutually_exclusive_group(required=True)
        origin.add_argument(
            "--archive",
            type=Path,
            metavar="FILE",
            help="a .zip, .tar, .tar.gz, .parquet, .npz or .npy file; no member becomes a file",
        )
        origin.add_argument(
            "--folder",
            type=Path,
            metavar="DIR",
            help="a folder laid out like an archive, or of parquet tables",
        )
        origin.add_argument(
            "--torchvision",
            choices=preparation.TORCHVISION_ORIGINS,
            help="downloaded into the data folder, where there is a network",
        )
        origin.add_argument(
            "--digits", action="store_true", help="1,797 digits of 8x8, packaged in scikit-learn"
        )
        origin.add_argument(
            "--packaged",
            choices=preparation.PACKAGED,
            help="images that come with the installation (--digits is short for one of them)",
        )
        parser.add_argument(
            "--resolution", type=int, metavar="R", help=f"pixels a side: {preparation.RESIZE_RULE}"
        )
        parser.add_argument(
            "--channels", type=int, choices=(1, 3), help="1 = grey, 3 = RGB; else as they come"
        )
        parser.add_argument("--source", metavar="TEXT", help="where the images come from")
        parser.add_argument("--licence", metavar="TEXT", help="under which terms")
        parser.add_argument(
            "--test-fraction",
            type=float,
            metavar="F",
            help="share of each class for the test split where the images have none "
            f"({preparation.TEST_FRACTION:g})",
        )

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        try:
            slug_of(name, "dataset")  # before minutes of reading
            with self._prepare(options) as prepared:
                source, licence = self._origin(options)
                dataset, is_new = register_dataset(name, prepared, source=source, licence=licence)
        except preparation.MixedImages as error:
            raise CommandError(f"{error} (--{error.option})") from error
        except (preparation.ImageError, preparation.PreparationError, RegistrationError) as error:
            raise CommandError(str(error)) from error
        except BucketError as error:
            raise CommandError(error.strerror) from error
        except OSError as error:
            raise CommandError(
                f"{error.filename or 'the data folder'}: {error.strerror}"
            ) from error
        for line in prepared.left_out:
            self.stdout.write(f"left out {line}")
        verb = "registered" if is_new else "registered already:"
        self.stdout.write(f"{verb} {self._describe(dataset)}")
        for note in dataset.notes:
            self.stdout.write(f"note: {note}")

    def _prepare(self, options: dict[str, Any]) -> AbstractContextManager[PreparedDataset]:
        shape = {"resolution": options["resolution"], "channels": options["channels"]}
        path = options["archive"] or options["folder"]
        if path is None and options["test_fraction"] is not None:
            raise CommandError("--test-fraction goes with --archive or --folder")
        if packaged := _packaged(options):
            return preparation.prepare_packaged(packaged, **shape)
        if options["torchvision"]:
            return preparation.prepare_torchvision(options["torchvision"], **shape)
        if path == options["folder"] and not path.is_dir():
            raise CommandError(f"{path}: not a folder")
        if path == options["archive"] and path.is_dir():
            raise CommandError(f"{path}: a folder; use --folder")
        return preparation.prepare_path(
            path,
            test_fraction=options["test_fraction"],
            on_progress=self._show_progress,
            **shape,
        )

    def _origin(self, options: dict[str, Any]) -> tuple[str, str]:
        source, licence = options["archive"].name if options["archive"] else "", ""
        if packaged := _packaged(options):
            origin = preparation.PACKAGED[packaged]
            source, licence = origin.source, origin.licence
        elif options["torchvision"]:
            source, licence = preparation.TORCHVISION_ORIGINS[options["torchvision"]]
        return options["source"] or source, options["licence"] or licence

    def _show_progress(self, what: str, done: int, total: int) -> None:
        step = max(total // 10, 1)
        if done == total or done // step > (done - preparation.CHUNK) // step:
            self.stderr.write(f"{what}: {done:,} of {total:,} images", style_func=str)

    def _describe(self, dataset: Dataset) -> str:
        size = f"{dataset.resolution}x{dataset.resolution}x{dataset.channels}"
        return (
            f"{dataset.slug}: {dataset.train_size:,} train and {dataset.test_size:,} test images, "
            f"{size}, {dataset.kind}, digest {dataset.digest}"
        )


def _packaged(options: dict[str, Any]) -> str | None:
    """Return which of the packaged sets is meant, if one is."""
    named: str | None = options["packaged"]
    return preparation.DIGITS if options["digits"] else named
