"""The command line: `python -m generators list|train|sample`."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from generators.configs import FieldSpec, describe
from generators.registry import ALGORITHMS, FAMILIES, algorithm_names, get_spec
from generators.specs import AlgorithmSpec

EXIT_ERROR = 2

EXAMPLES = """examples:
  python -m generators list
  python -m generators train vae.conv --data mnist.zip --out vae --images 200000
  python -m generators sample vae --count 1000 --out vae.npz --grid vae.png"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 (an error) or 130 (interrupted)."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            return _list(options)
        commands = import_module("generators.commands")  # loads torch
        status: int = getattr(commands, options.command)(options)
    except (ValueError, OSError) as error:  # ConfigError, ImagesError, CheckpointError, …
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    return status


# --- the commands' arguments --------------------------------------------------------------------


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults where there are any, and leaves line breaks as they are."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == []:
            return action.help
        return super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generators",
        description="Train generative models and draw images from them.",
        epilog=EXAMPLES,
        formatter_class=_Formatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_list(commands)
    _add_train(commands)
    _add_sample(commands)
    return parser


def _add_list(commands: Any) -> None:
    command = commands.add_parser(
        "list",
        help="list algorithms, their options and samplers",
        description="List algorithms; with names, their options and samplers as well.",
        formatter_class=_Formatter,
    )
    command.add_argument("algorithms", nargs="*", metavar="ALGORITHM", help="such as gan.sngan")
    command.add_argument("--json", action="store_true", help="print everything as JSON")


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train an algorithm on images",
        description="Train an algorithm on images. The same command again goes on from the newest "
        "checkpoint; Ctrl-C saves one.",
        epilog="options of --set:\n" + "\n".join(map(_options_text, ALGORITHMS.values())),
        formatter_class=_Formatter,
    )
    command.add_argument("algorithm", metavar="ALGORITHM", help=", ".join(algorithm_names()))
    command.add_argument(
        "--data",
        type=Path,
        required=True,
        help=".npz file, zip archive or folder of images (one folder per class, or train/CLASS)",
    )
    command.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    budget = command.add_mutually_exclusive_group(required=True)
    budget.add_argument("--images", type=int, help="budget in images seen")
    budget.add_argument("--seconds", type=float, help="budget in device seconds")
    command.add_argument("--seed", type=int, default=0, help="all randomness follows from it")
    _add_set(command, "an option of the algorithm, see below")
    command.add_argument(
        "--checkpoint-seconds", type=float, default=60, help="seconds between two checkpoints"
    )
    _add_machine(command)


def _add_sample(commands: Any) -> None:
    command = commands.add_parser(
        "sample",
        help="draw images from a checkpoint",
        description="Draw images from a checkpoint; image i depends on seed i alone.",
        epilog="options of --set:\n" + "\n".join(map(_samplers_text, ALGORITHMS.values())),
        formatter_class=_Formatter,
    )
    command.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a checkpoint's folder, or the folder of a training (its newest checkpoint)",
    )
    command.add_argument("--out", type=Path, required=True, help="file (npz) or folder (png)")
    command.add_argument("--format", choices=("npz", "png"), default="npz", help="what to write")
    command.add_argument("--count", type=int, default=100, help="number of images")
    command.add_argument("--seed", type=int, default=0, help="seed of the first image")
    command.add_argument(
        "--label", type=int, help="class of all images (none: all classes in turn)"
    )
    command.add_argument("--sampler", help="how to draw (none: the algorithm's default)")
    _add_set(command, "an option of the sampler, see below")
    command.add_argument("--batch-size", type=int, default=100, help="images drawn at once")
    command.add_argument("--grid", type=Path, help="also write a contact sheet, a PNG file")
    _add_machine(command)


def _add_set(command: argparse.ArgumentParser, help_text: str) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="options", help=help_text
    )


def _add_machine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument("--threads", type=int, help="processor threads (none: torch decides)")
    command.add_argument("--json", action="store_true", help="print the result as JSON")


# --- list ---------------------------------------------------------------------------------------


def _list(options: argparse.Namespace) -> int:
    specs = [get_spec(name) for name in options.algorithms or algorithm_names()]
    if options.json:
        print(json.dumps([_record(spec) for spec in specs], indent=1))  # noqa: T201  # the result
        return 0
    for spec in specs:
        print(f"{spec.name:<16} {FAMILIES[spec.family].label:<10} {spec.label}")  # noqa: T201
        if options.algorithms:
            print(f"{spec.source}\n{_options_text(spec)}\n{_samplers_text(spec)}")  # noqa: T201
    return 0


def _record(spec: AlgorithmSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "family": spec.family,
        "label": spec.label,
        "source": spec.source,
        "config": [vars(field) for field in describe(spec.config)],
        "samplers": {
            name: [vars(field) for field in describe(sampler)]
            for name, sampler in spec.samplers.items()
        },
        "default_sampler": spec.default_sampler,
    }


def _options_text(spec: AlgorithmSpec) -> str:
    return "\n".join([f"  {spec.name}", *map(_field_text, describe(spec.config))])


def _samplers_text(spec: AlgorithmSpec) -> str:
    lines = []
    for name, sampler in spec.samplers.items():
        default = " (default)" if name == spec.default_sampler else ""
        lines += [f"  {spec.name} --sampler {name}{default}"]
        lines += map(_field_text, describe(sampler))
    return "\n".join(lines)


def _field_text(field: FieldSpec) -> str:
    limits = f"; one of {', '.join(field.choices)}" if field.choices else ""
    if field.minimum is not None and field.maximum is not None:
        limits = f"; {field.minimum:g}..{field.maximum:g}"
    return f"    {field.name:<28} {field.help} (default: {field.default}{limits})"


if __name__ == "__main__":
    sys.exit(main())
