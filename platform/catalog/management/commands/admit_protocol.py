"""Put a registered protocol to the admission test again."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.admission import told
from catalog.engine import RegistrationError
from catalog.models import Protocol
from catalog.services import ADMISSION_IMAGES, admit_protocol
from catalog.stored import BucketError


class Command(BaseCommand):
    help = (
        "Test again whether a registered protocol is fit to rank: by the rules of today, on its "
        "own number of images. What is found replaces what was; values stay, ranks may go or come."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("protocol", help="fingerprint of a registered protocol, or its start")
        parser.add_argument(
            "--classifier-data",
            type=Path,
            metavar="FILE",
            help="what a stacked classifier was registered with",
        )
        parser.add_argument(
            "--admission-images",
            type=int,
            default=ADMISSION_IMAGES,
            metavar="N",
            help="real images it is tested on, but no more than are scored (default: %(default)s)",
        )

    def handle(self, *args: Any, protocol: str, **options: Any) -> None:
        found = list(Protocol.objects.filter(fingerprint__startswith=protocol.lower())[:2])
        if len(found) != 1:
            count = "none" if not found else "more than one"
            raise CommandError(f"expected the fingerprint of one protocol, got that of {count}")
        try:
            admit_protocol(
                found[0],
                classifier_data=options["classifier_data"],
                admission_images=options["admission_images"],
                report=lambda line: self.stderr.write(line, style_func=str),
            )
        except RegistrationError as error:
            raise CommandError(str(error)) from error
        except BucketError as error:
            raise CommandError(error.strerror) from error
        for line in told(found[0]):
            self.stdout.write(line)
