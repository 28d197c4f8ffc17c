"""Submit an experiment from a YAML or JSON file."""

import sys
from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from experiments import services
from experiments.lifetime.rehearsal import Rehearsal, rehearse
from experiments.submission.plain import PlainDataError, read_yaml
from experiments.submission.specification import SpecificationError

MAX_CHARACTERS = 1_000_000  # of a file; one of 50 entries has some 50,000


class Command(BaseCommand):
    help = "Submit the experiment that a YAML or JSON file describes; - reads standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="see .readme/data.md for an example")
        parser.add_argument("--user", metavar="NAME", help="account that submits it")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be made and cost; make nothing"
        )

    def handle(
        self, *args: Any, file: str, user: str | None, dry_run: bool, **options: Any
    ) -> None:
        account = find_account(user)
        data = read_file(file)
        try:
            if dry_run:
                self._tell(rehearse(data, user=account))
                return
            experiment = services.submit_data(data, user=account)
        except SpecificationError as error:
            for path, message in error.errors.items():
                self.stderr.write(f"{path}: {message}")
            raise SystemExit(1) from error
        self.stdout.write(f"experiment {experiment.pk}: {experiment.get_absolute_url()}")

    def _tell(self, found: Rehearsal) -> None:
        self.stdout.write(f"{found.runs} runs, {found.jobs} jobs")
        for warning in found.warnings:
            self.stdout.write(f"warning: {warning}")
        for cost in (*found.costs, found.total):
            self.stdout.write(f"{cost.label}: {cost.words}")


def find_account(name: str | None) -> User | None:
    if name is None:
        return None
    user = User.objects.filter(username=name).first()
    if user is None:
        raise CommandError(f"expected the name of a user, got {name!r}")
    return user


def read_file(name: str) -> dict[str, Any]:
    """Return the mapping in a file.

    Raises:
        CommandError: if the file cannot be read, is too large, is no YAML, or holds no mapping or
            what cannot be stored.
    """
    try:
        data = read_yaml(_read_text(name))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:  # a number or a key, of ours
        raise CommandError(f"{name}: {error}") from error
    if not isinstance(data, dict):
        raise CommandError(f"{name}: expected field: value pairs, got {type(data).__name__}")
    return data


def _read_text(name: str) -> str:
    if name == "-":
        text = sys.stdin.read(MAX_CHARACTERS + 1)
    else:
        with Path(name).open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    if len(text) > MAX_CHARACTERS:
        raise PlainDataError(f"expected at most {MAX_CHARACTERS:,} characters")
    return text
