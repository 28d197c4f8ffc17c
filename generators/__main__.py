"""The command line: `python -m generators list|train|sample|…`; see `--help`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from evaluation.imagesets.terminal import any_terminal
from generators.commands.arguments import build_parser
from generators.commands.texts import options_text, presets_text, samplers_text
from generators.specs.algorithms import AlgorithmSpec
from generators.specs.options import describe
from generators.specs.registry import FAMILIES, LEFT_OUT, algorithm_names, get_spec

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130

MODULES = {
    "train": "train",
    "sample": "sample",
    "reconstruct": "show",
    "trajectory": "show",
    "interpolate": "show",
    "noise": "show",
    "measure": "measure",
    "export": "export",
    "inspect": "inspect",
    "reproduce": "reproduce",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 done, 2 an error, 3 a training diverged, 130 stopped by Ctrl-C, 143 stopped by SIGTERM; as a
    program 141 where it was done, but nobody reads what it prints.
    """
    try:
        options = build_parser().parse_args(arguments)
        if options.command == "list":
            return _list(options)
        commands = import_module(
            f"generators.commands.{MODULES[options.command]}"
        )  # most load torch
        status: int = getattr(commands, options.command)(options)
    except (ValueError, OSError) as error:  # UsageError, ConfigError, ImageError, …
        sys.stderr.write(f"error: {_words(error)}\n")
        return EXIT_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("interrupted, nothing was written since the last checkpoint\n")
        return EXIT_INTERRUPTED
    return status


def _words(error: Exception) -> str:
    """Return the message in one line, with the process's number where torchrun started several."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    rank = os.environ.get("RANK", "0")
    return " ".join(([f"process {rank}:"] if rank != "0" else []) + text.split())


def _list(options: argparse.Namespace) -> int:
    for left in LEFT_OUT:
        sys.stderr.write(f"left out: {left}\n")
    specs = [get_spec(name) for name in options.algorithms or algorithm_names()]
    if options.json:
        print(json.dumps([_record(spec) for spec in specs], indent=1))  # noqa: T201  # the result
        return 0
    for spec in specs:
        print(f"{spec.name:<16} {FAMILIES[spec.family_name].label:<10} {spec.label}")  # noqa: T201
        if options.algorithms:
            texts = spec.source, options_text(spec), presets_text(spec), samplers_text(spec)
            print("\n".join(texts))  # noqa: T201
    return 0


def _record(spec: AlgorithmSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "family": spec.family_name,
        "label": spec.label,
        "source": spec.source,
        "config": [vars(field) for field in describe(spec.config)],
        "presets": {
            name: {"images": preset.images, "config": dict(preset.config)}
            for name, preset in spec.presets.items()
        },
        "samplers": {
            name: [vars(field) for field in describe(sampler)]
            for name, sampler in spec.samplers.items()
        },
        "default_sampler": spec.default_sampler,
    }


if __name__ == "__main__":
    with any_terminal():
        sys.exit(main())
