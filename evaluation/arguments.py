"""The options of ``python -m evaluation``."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import torch

from evaluation.specs import EXTRACTORS, INCEPTION

Command = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def build_parser(commands_by_name: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of all commands; each stores its function as `options.command`."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Score generated images under one fixed protocol.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_score(commands)
    _add_classifier(commands)
    _add_inception(commands)
    _add_compare(commands)
    for name, command in commands_by_name.items():
        commands.choices[name].set_defaults(command=command)
    return parser


def _add_score(commands: Commands) -> None:
    score = commands.add_parser(
        "score",
        help="measure all metrics of generated against reference images",
        description="Measure all metrics of GENERATED against the reference images. "
        "Both are an .npz file, a folder or a zip archive of images.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    score.add_argument("generated", type=Path, metavar="GENERATED")
    score.add_argument("--reference", type=Path, required=True, help="real images")
    score.add_argument("--extractor", choices=list(EXTRACTORS), default=INCEPTION)
    score.add_argument(
        "--weights",
        type=Path,
        help="Inception weights file, or the folder of a trained classifier",
    )
    score.add_argument(
        "--classifier-data",
        type=Path,
        help="labelled images to train the classifier on; by default the reference",
    )
    score.add_argument(
        "--num-images", type=_positive, help="how many to score; by default all generated"
    )
    score.add_argument("--protocol", type=Path, help="score under this protocol (JSON) instead")
    score.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    score.add_argument("--batch-size", type=_positive, help="images at a time")
    parts = ("train", "test")
    score.add_argument("--part", choices=parts, help="which part of GENERATED, if it has parts")
    score.add_argument(
        "--reference-part", choices=parts, default="train", help="the same of the reference"
    )
    _add_common(score)


def _add_classifier(commands: Commands) -> None:
    classifier = commands.add_parser(
        "classifier",
        help="train a dataset classifier, or find it in the cache",
        description="Train the classifier of a dataset, or find it in the cache.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    classifier.add_argument("--data", type=Path, required=True, help="labelled train images")
    classifier.add_argument("--test", type=Path, help="labelled images to measure accuracy on")
    classifier.add_argument("--out", type=Path, required=True, help="folder of trained classifiers")
    classifier.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_inception(commands: Commands) -> None:
    inception = commands.add_parser(
        "inception",
        help="find, check or download the weights that FID needs",
        description="Check a file of Inception weights, or find or download the known one, and "
        "keep it under its sha256 in the folder of weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    inception.add_argument("--weights", type=Path, help="a local file; by default downloaded")
    inception.add_argument("--out", type=Path, required=True, help="folder of weights")
    inception.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="say whether two results may be compared",
        description="Say whether two results (of score --json) or protocols may be compared. "
        "The exit status is 0 if they may and 1 if not.",
    )
    compare.add_argument("a", type=Path, metavar="A.json")
    compare.add_argument("b", type=Path, metavar="B.json")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache", type=Path, default=_default_cache(), help="folder of weights and features"
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device", type=_device, default=device, help="where features are computed"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _device(text: str) -> str:
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"no device {text!r} here: {reason}") from error
    return text


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trilemma"
