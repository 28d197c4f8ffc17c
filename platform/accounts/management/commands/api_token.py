"""Make an API token for a user and print it once."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import tokens
from accounts.models import User


class Command(BaseCommand):
    help = "Make an API token for a user and print it once (only its hash is kept)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--days",
            type=int,
            default=settings.API_TOKEN_DAYS,
            help="how long it lives, 0 = until it is deleted (default: API_TOKEN_DAYS)",
        )

    def handle(self, *args: Any, username: str, days: int, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"expected the name of a user, got {username!r}")
        if days < 0:
            raise CommandError(f"expected --days of at least 0, got {days}")
        kept, token = tokens.make(user, days=days, actor=None)
        self.stdout.write(token)
        self.stderr.write(f"The token {tokens.ends_in_words(kept)}.")
