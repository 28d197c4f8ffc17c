"""The command line: ``python -m evaluation score|compare|protocol|admit|reference|…``."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from evaluation.commands.addresses import CommandError
from evaluation.commands.admit import admit
from evaluation.commands.arguments import build_parser
from evaluation.commands.classifier import classifier
from evaluation.commands.compare import compare
from evaluation.commands.handing_in import lint, pack
from evaluation.commands.inception import inception
from evaluation.commands.protocol import protocol
from evaluation.commands.reference import reference
from evaluation.commands.scenes import prompts, scenes
from evaluation.commands.score import score
from evaluation.commands.statuses import EXIT_ERROR
from evaluation.features.base import ExtractorError
from evaluation.imagesets.in_memory import ImageError
from evaluation.imagesets.terminal import any_terminal
from evaluation.protocols import extractors, metrics
from evaluation.protocols.checking import ProtocolError
from evaluation.scoring.evaluate import EvaluationError
from evaluation.scoring.references import SavedReferenceError

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "score": score,
    "compare": compare,
    "protocol": protocol,
    "admit": admit,
    "reference": reference,
    "classifier": classifier,
    "inception": inception,
    "scenes": scenes,
    "prompts": prompts,
    "lint": lint,
    "pack": pack,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (a plain no) or 2 (an error).

    Run as a program, it ends with 141 where 0 could not be told, as nobody reads what it prints.
    """
    for left in (*metrics.LEFT_OUT, *extractors.LEFT_OUT):
        sys.stderr.write(f"left out: {left}\n")
    options = build_parser(COMMANDS).parse_args(arguments)
    try:
        _check_json(options)
        status: int = options.command(options)
    except (
        CommandError,
        EvaluationError,
        ExtractorError,
        ImageError,
        ProtocolError,
        SavedReferenceError,
        OSError,
        torch.OutOfMemoryError,
    ) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    return status


def _check_json(options: argparse.Namespace) -> None:
    """Refuse a file that cannot be written before the work, not after it."""
    path = getattr(options, "json", None)
    if isinstance(path, Path) and not path.absolute().parent.is_dir():
        raise CommandError(f"--json: the folder {path.absolute().parent} does not exist")


if __name__ == "__main__":
    with any_terminal():
        sys.exit(main())
