"""Register a protocol for a dataset."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.models import Dataset
from catalog.services import PRESETS, RegistrationError, register_protocol


class Command(BaseCommand):
    help = (
        "Register how generated images of a dataset are scored against its train split. The test "
        "split is scored too, as the real-vs-real control. A dataset classifier is trained if "
        "there is none yet. The same protocol twice is one protocol: its fingerprint is printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", help="slug of a registered dataset")
        presets = "; ".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())
        parser.add_argument(
            "--preset",
            default="classifier-test",
            choices=PRESETS,
            help=f"{presets} (default: %(default)s)",
        )
        parser.add_argument(
            "--num-images",
            type=int,
            metavar="N",
            help="generated images that are scored; else the preset's number",
        )
        parser.add_argument(
            "--weights",
            type=Path,
            metavar="FILE",
            help="of Inception, copied into the data folder; else the file of INCEPTION_WEIGHTS",
        )

    def handle(self, *args: Any, dataset: str, **options: Any) -> None:
        row = Dataset.objects.filter(slug=dataset).first()
        if row is None:
            known = ", ".join(Dataset.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"expected a registered dataset ({known}), got {dataset!r}")
        try:
            protocol, is_new = register_protocol(
                row,
                preset=options["preset"],
                num_images=options["num_images"],
                weights=options["weights"],
                report=lambda line: self.stderr.write(line, style_func=str),
            )
        except RegistrationError as error:
            raise CommandError(str(error)) from error
        metrics = ", ".join(protocol.metric_label(metric) for metric in protocol.metrics)
        verb = "registered" if is_new else "registered already:"
        self.stdout.write(f"{verb} {protocol.name} on {row.slug}: {metrics}")
        for fact, value in protocol.facts.items():
            self.stdout.write(f"{fact.replace('_', ' ')}: {value}")
        self.stdout.write(protocol.fingerprint)
