"""Register a set of prompts from a JSON file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.engine import RegistrationError
from catalog.models import PromptSet
from catalog.prompts import register_prompts
from catalog.services import keep_prompts
from evaluation.protocols.prompts import PACKAGED, packaged_prompts

MOST_BYTES = 64 * 2**20


class Command(BaseCommand):
    help = (
        'Register what generated images are asked for in words: JSON as {"version": 1, '
        '"prompts": [{"id", "text", "group", "claims"}, …]}, where claims may be absent. Ids '
        "and texts are different. The same prompts twice are one set: its digest is printed, and "
        "register_protocol --prompts makes them part of a protocol."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="for people; its slug, in lower case, is for machines")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("file", nargs="?", type=Path, metavar="FILE", help="JSON in UTF-8")
        source.add_argument(
            "--packaged", choices=PACKAGED, help="prompts that come with the installation"
        )

    def handle(
        self, *args: Any, name: str, file: Path | None, packaged: str | None, **options: Any
    ) -> None:
        try:
            if packaged is not None:
                self.tell(*keep_prompts(name, packaged_prompts(packaged)))
            elif file is not None:
                self.tell(*self.read(name, file))
        except RegistrationError as error:
            raise CommandError(str(error)) from error

    def read(self, name: str, file: Path) -> tuple[PromptSet, bool]:
        try:
            if (size := file.stat().st_size) > MOST_BYTES:
                raise CommandError(f"{file.name}: {size:,} bytes; expected at most {MOST_BYTES:,}")
            return register_prompts(name, file.read_text(encoding="utf-8"))
        except OSError as error:
            raise CommandError(f"{file.name}: {error.strerror}") from error
        except (RegistrationError, UnicodeDecodeError) as error:
            raise CommandError(f"{file.name}: {error}") from error

    def tell(self, prompts: PromptSet, is_new: bool) -> None:
        verb = "registered" if is_new else "registered already:"
        groups = len({prompt.group for prompt in prompts.parsed().prompts})
        self.stdout.write(
            f"{verb} {prompts.slug}: {prompts.size:,} prompts in {groups:,} groups, digest "
            f"{prompts.digest}"
        )
