"""How command lines are read: no abbreviations, and errors in one line (torch-free)."""

import argparse
from typing import Any, NoReturn

from generators.commands.values import positive


class UsageError(ValueError):
    """Arguments that make no command."""


class Parser(argparse.ArgumentParser):
    """Knows no abbreviations, and shows options as they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what the command line prints in one line."""
        raise UsageError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults where there are any, and leaves line breaks as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


def add_machine(command: argparse.ArgumentParser) -> None:
    """Add what says where a command works, and how it prints."""
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument(
        "--threads", type=positive, metavar="N", help="processor threads (none: torch decides)"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")
