"""The arguments of `python -m generators reproduce` (torch-free)."""

from pathlib import Path
from typing import Any

from generators.commands.parsers import add_machine

DESCRIPTION = (
    "Train and draw a run of the site again, from the bundle on its page, and compare the samples bit "
    "by bit. Other images are refused; other versions, threads or devices are named on stderr. Exit "
    "status 0: the same bits, 1: others. On processors the same versions and number of threads (by "
    "default the bundle's) give the same bits; on GPUs the same kind of GPU does mostly."
)
DATA = (
    "the dataset of the bundle, whose digest is checked: a packaged set, the dataset's folder on the "
    "site or its train.npz, or what it was registered from, if that has train/ and test/"
)


def add_reproduce(commands: Any) -> None:
    """Add the command to those of a parser."""
    command = commands.add_parser(
        "reproduce",
        help="train and draw a run of the site again, from its bundle",
        description=DESCRIPTION,
    )
    command.add_argument("bundle", type=Path, metavar="BUNDLE", help="a run's bundle, a JSON file")
    command.add_argument("--data", required=True, metavar="X", help=DATA)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    add_machine(command)
