"""Register a protocol for a dataset."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.admission import told
from catalog.engine import RegistrationError
from catalog.models import Dataset, Protocol
from catalog.services import ADMISSION_IMAGES, DEFAULT_PRESET, Scoring, register_protocol
from catalog.stored import BucketError
from evaluation.protocols.presets import PRESETS


class Command(BaseCommand):
    help = (
        "Register how generated images of a dataset are scored against its train split; the test "
        "split is held out. A dataset classifier is trained if there is none yet, and the extractor "
        "is tested on real and corrupted images. The same protocol twice is one protocol: its "
        "fingerprint is printed. `manage.py admit_protocol` tests a registered one again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("dataset", help="slug of a registered dataset")
        presets = "; ".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--preset", choices=PRESETS, help=f"{presets} (default: {DEFAULT_PRESET})")
        how.add_argument(
            "--extractor", metavar="NAME", help="an extractor with all metrics measured by default"
        )
        parser.add_argument(
            "--metrics", metavar="A,B", default="", help="these alone; else the preset's"
        )
        parser.add_argument(
            "--num-images",
            type=int,
            metavar="N",
            help="generated images that are scored; else the preset's number",
        )
        parser.add_argument(
            "--labels",
            metavar="RULE",
            default="",
            help="the shares in which conditional samples are drawn: reference, uniform (of the "
            "reference's classes) or K,K,…, a whole number for each class (default: reference)",
        )
        parser.add_argument(
            "--prompts",
            metavar="SLUG",
            default="",
            help="registered prompts that images are asked with, in turn (see register_prompts)",
        )
        parser.add_argument(
            "--images-per-prompt",
            type=int,
            metavar="N",
            help="images that each prompt is asked for",
        )
        parser.add_argument(
            "--clip",
            type=Path,
            metavar="FOLDER",
            help="a CLIP-like model as transformers saves it, copied into the data folder: how well "
            "images and prompts agree by it is measured too (needs the extra text)",
        )
        parser.add_argument(
            "--weights",
            type=Path,
            metavar="FILE",
            help="of the extractor, copied into the data folder; for Inception else the file of "
            "INCEPTION_WEIGHTS",
        )
        parser.add_argument(
            "--classifier-data",
            type=Path,
            metavar="FILE",
            help="labelled grey images whose classifier a stacked one applies to each channel",
        )
        parser.add_argument(
            "--admission-images",
            type=int,
            default=ADMISSION_IMAGES,
            metavar="N",
            help="real images the extractor is tested on, but no more than are scored; 0 = it is not "
            "(default: %(default)s)",
        )

    def handle(self, *args: Any, dataset: str, **options: Any) -> None:
        row = Dataset.objects.filter(slug=dataset).first()
        if row is None:
            known = ", ".join(Dataset.objects.values_list("slug", flat=True)) or "none yet"
            raise CommandError(f"expected a registered dataset ({known}), got {dataset!r}")
        wanted = scoring(options)
        self.stderr.write(
            f"making {wanted.name} for {row}: weights, digests, the extractor's test; this may take "
            "minutes",
            style_func=str,
        )
        try:
            protocol, is_new = register_protocol(
                row,
                wanted,
                admission_images=options["admission_images"],
                report=lambda line: self.stderr.write(line, style_func=str),
            )
        except RegistrationError as error:
            raise CommandError(str(error)) from error
        except BucketError as error:
            raise CommandError(error.strerror) from error
        self.tell(protocol, is_new=is_new)

    def tell(self, protocol: Protocol, *, is_new: bool) -> None:
        metrics = ", ".join(protocol.metric_label(metric) for metric in protocol.metrics)
        verb = "registered" if is_new else "registered already:"
        self.stdout.write(f"{verb} {protocol.name} on {protocol.dataset}: {metrics}")
        for fact, value in protocol.facts.items():
            if fact != "admission":
                self.stdout.write(f"{fact.replace('_', ' ')}: {value}")
        if protocol.labels_in_words:
            self.stdout.write(f"labels of conditional samples: {protocol.labels_in_words}")
        if protocol.prompt_set:
            self.stdout.write(f"images are asked with the prompts {protocol.prompt_set}")
        for line in told(protocol):
            self.stdout.write(line)
        self.stdout.write(protocol.fingerprint)


def scoring(options: dict[str, Any]) -> Scoring:
    extractor = options["extractor"] or ""
    return Scoring(
        preset=options["preset"] or ("" if extractor else DEFAULT_PRESET),
        extractor=extractor,
        metrics=tuple(name.strip() for name in options["metrics"].split(",") if name.strip()),
        num_images=options["num_images"],
        labels=options["labels"],
        prompts=options["prompts"],
        images_per_prompt=options["images_per_prompt"],
        weights=options["weights"],
        classifier_data=options["classifier_data"],
        clip=options["clip"],
    )
