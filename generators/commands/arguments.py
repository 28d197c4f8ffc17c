"""The arguments of `python -m generators`; options are generated from configuration classes.

Torch-free: `--help` and `list` are instant.
"""

import argparse
from pathlib import Path
from typing import Any

from evaluation.imagesets.sources import RESIZE_RULE
from generators.commands import texts
from generators.commands.bundles import add_reproduce
from generators.commands.parsers import Parser, add_machine
from generators.commands.values import (
    above_zero,
    fractions,
    label_rule,
    natural,
    positive,
    positives,
)
from generators.specs.algorithms import PRESETS
from generators.specs.registry import ALGORITHMS, algorithm_names

MOST_MEASURED, MOST_RECONSTRUCTED, MOST_NOISED = 1000, 100, 8  # images, where --num is not given
CHECKPOINT = "a checkpoint's folder, or the folder of a training (its newest good checkpoint)"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; `options.command` names what was asked for."""
    parser = Parser(
        prog="python -m generators",
        description="Train generative models, draw images from them and look into them.",
        epilog=texts.EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        _add_list,
        _add_train,
        _add_sample,
        _add_reconstruct,
        _add_trajectory,
        _add_interpolate,
        _add_noise,
        _add_measure,
        _add_export,
        _add_inspect,
        add_reproduce,
    ):
        add(commands)
    return parser


# --- the commands -------------------------------------------------------------------------------


def _add_list(commands: Any) -> None:
    command = commands.add_parser(
        "list",
        help="list algorithms, their options, presets and samplers",
        description="List algorithms; with names, their options, presets and samplers as well.",
    )
    command.add_argument("algorithms", nargs="*", metavar="ALGORITHM", help="such as gan.sngan")
    command.add_argument("--json", action="store_true", help="print everything as JSON")


def _add_train(commands: Any) -> None:
    command = commands.add_parser(
        "train",
        help="train an algorithm on images",
        description="Train an algorithm on images. The same command again goes on from the newest "
        "good checkpoint, to the same bits; a folder that holds another training is refused. "
        "Ctrl-C and SIGTERM save a checkpoint and leave (exit status 130 and 143). Losses are "
        "written to losses.jsonl. `torchrun --nproc-per-node N -m generators train …` trains in N "
        "processes.",
        epilog="options of --set, and presets:\n"
        + "\n".join(
            f"{texts.options_text(s)}\n{texts.presets_text(s)}" for s in ALGORITHMS.values()
        ),
    )
    command.add_argument("algorithm", metavar="ALGORITHM", help=", ".join(algorithm_names()))
    _add_data(
        command,
        "the train part is trained on; of data without parts, all, for nothing says what to leave "
        "out (register_dataset keeps 20 %% of each class)",
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for checkpoints and losses"
    )
    command.add_argument(
        "--preset", metavar="P", help=f"{', '.join(PRESETS)}: options and a budget, see below"
    )
    _add_budget(command)
    command.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="all randomness follows from it"
    )
    _add_set(command, "an option of the algorithm, see below; goes before the preset's")
    command.add_argument(
        "--resume",
        action="store_true",
        help="refuse to begin: there must be a checkpoint in DIR to go on from",
    )
    command.add_argument(
        "--initial", type=Path, metavar="CKPT", help="begin with a checkpoint's averaged weights"
    )
    command.add_argument(
        "--checkpoint-seconds",
        type=above_zero,
        default=60,
        metavar="S",
        help="seconds between two checkpoints; the newest two are kept",
    )
    command.add_argument(
        "--checkpoint-at",
        type=positives,
        default=[],
        metavar="N,N,…",
        help="images seen after which a checkpoint is saved and kept",
    )
    command.add_argument(
        "--compile",
        action="store_true",
        help="compile networks where that is safe; faster on GPUs, after minutes of compiling",
    )
    add_machine(command)


def _add_budget(command: argparse.ArgumentParser) -> None:
    budget = command.add_mutually_exclusive_group()
    budget.add_argument(
        "--budget-images", type=positive, metavar="N", help="images seen (none: the preset's)"
    )
    budget.add_argument(
        "--budget-seconds",
        type=above_zero,
        metavar="S",
        help="device seconds; resuming is then approximate",
    )
    for old, new, kind in (
        ("--images", "budget_images", positive),
        ("--seconds", "budget_seconds", above_zero),
    ):
        budget.add_argument(
            old, type=kind, dest=new, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def _add_sample(commands: Any) -> None:
    command = commands.add_parser(
        "sample",
        help="draw images from a checkpoint",
        description="Draw images from a checkpoint, or from the folder of a diffusers pipeline "
        "(--sampler names its scheduler); image i depends on seed i alone. The .npz file has arr_0 "
        "(N, height, width, channels) uint8, labels or captions where they were asked for, and seeds.",
        epilog=f"{_samplers_epilog()}\n{texts.pipelines_text()}",
    )
    _add_checkpoint(command, f"{CHECKPOINT}, a pipeline's folder, or a hub id with --revision")
    command.add_argument(
        "--revision", metavar="SHA", help="of a pipeline on the hub: a commit, 40 hex digits"
    )
    _add_num(command, 100, "number of images")
    command.add_argument(
        "--count", type=positive, dest="num", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    command.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="seed of the first image"
    )
    labels = _add_label(command, "class of all images")
    labels.add_argument("--labels", type=label_rule, metavar="RULE", help=texts.LABELS_HELP)
    labels.add_argument("--prompts", type=Path, metavar="FILE", help=texts.PROMPTS_HELP)
    _add_sampler(command)
    command.add_argument("--out", type=Path, required=True, help="file (npz) or new folder (png)")
    command.add_argument("--format", choices=("npz", "png"), default="npz", help="what to write")
    command.add_argument(
        "--batch-size", type=positive, metavar="N", help="images at once (none: all that fit)"
    )
    _add_grid(command, "also write a contact sheet, a PNG file")
    add_machine(command)


def _add_reconstruct(commands: Any) -> None:
    command = commands.add_parser(
        "reconstruct",
        help="encode and decode images",
        description="Encode and decode real images, for algorithms with an encoder. The .npz file "
        "has arr_0 (reconstructions), originals, and labels where there are classes.",
    )
    _add_checkpoint(command)
    _add_images(command, MOST_RECONSTRUCTED)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE.npz", help="what to write"
    )
    _add_grid(command, "also write pairs side by side, the original first, a PNG file")
    add_machine(command)


def _add_trajectory(commands: Any) -> None:
    command = commands.add_parser(
        "trajectory",
        help="show how an image comes out of noise",
        description="Show how an image comes out of noise, for samplers that walk in steps: x, and "
        "the clean image that the model expects of it. A .png file has x above and the expected "
        "images below; an .npz file has x and x_0 (moments, height, width, channels) float32, "
        "times and steps, and arr_0, the image at the end.",
        epilog=_samplers_epilog(),
    )
    _add_checkpoint(command)
    command.add_argument("--seed", type=natural, default=0, metavar="S", help="seed of the image")
    _add_label(command, "class of the image (none: the first)")
    _add_sampler(command)
    command.add_argument(
        "--moments", type=positive, default=10, metavar="N", help="steps to show, evenly spaced"
    )
    _add_picture(command)
    add_machine(command)


def _add_interpolate(commands: Any) -> None:
    command = commands.add_parser(
        "interpolate",
        help="draw the images between two seeds",
        description="Draw images on the great circle from one seed's noise to another's, both ends "
        "included.",
        epilog=_samplers_epilog(),
    )
    _add_checkpoint(command)
    command.add_argument(
        "--seeds", type=natural, nargs=2, required=True, metavar=("A", "B"), help="the two ends"
    )
    _add_num(command, 10, "number of images, at least 2")
    _add_label(command, "class of all images (none: the first)")
    _add_sampler(command)
    _add_picture(command)
    add_machine(command)


def _add_noise(commands: Any) -> None:
    command = commands.add_parser(
        "noise",
        help="add the forward process's noise to images",
        description="Add noise to real images, for algorithms with a forward process. A .png file "
        "has a row for each image; an .npz file has noisy (times, N, height, width, channels) "
        "float32, times, seeds, and arr_0, the images.",
    )
    _add_checkpoint(command)
    _add_images(command, MOST_NOISED)
    command.add_argument(
        "--times",
        type=fractions,
        default="0,0.25,0.5,0.75,1",
        metavar="T,T,…",
        help="0 (clean) to 1 (the noise that sampling begins with)",
    )
    command.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="seed of the first image's noise"
    )
    _add_picture(command)
    add_machine(command)


def _add_measure(commands: Any) -> None:
    command = commands.add_parser(
        "measure",
        help="measure likelihood, reconstruction and codes",
        description="Measure on real images: bits per dimension (upper bounds), PSNR (dB) and SSIM "
        "of reconstructions, active units and codebook usage. What an algorithm has no definition "
        "of is N/A, with the reason.",
    )
    _add_checkpoint(command)
    _add_images(command, MOST_MEASURED)
    command.add_argument(
        "--samples", type=positive, default=1, metavar="K", help="draws per image for each bound"
    )
    command.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="all randomness follows from it"
    )
    add_machine(command)


def _add_export(commands: Any) -> None:
    command = commands.add_parser(
        "export",
        help="write a checkpoint for other programs",
        description="Write a checkpoint's averaged weights to a new folder for other programs: as "
        "one safetensors file with a config.json, or as a pipeline that diffusers loads and that "
        "gives the same image from the same noise; where it has no pipeline for the model, as its "
        "parts, with a README.md that says how to draw with them.",
    )
    _add_checkpoint(command)
    command.add_argument(
        "--format", choices=("diffusers", "safetensors"), required=True, help="what to write"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    _add_label(
        command,
        "for diffusers, the class its pipeline draws (none: any, if the model hid labels)",
    )
    command.add_argument(
        "--steps",
        type=positive,
        metavar="K",
        help="for diffusers, the steps of a folder that fixes them: flow matching, parts (none: 50)",
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def _add_inspect(commands: Any) -> None:
    command = commands.add_parser(
        "inspect",
        help="read a pipeline's folder, without importing anything of it",
        description="Say what the folder of a diffusers pipeline is: components, digests, licence, "
        "and every reason why it would be refused (exit status 2).",
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="with a model_index.json")
    command.add_argument("--json", action="store_true", help="print everything as JSON")


# --- arguments that several commands have -------------------------------------------------------


def _add_checkpoint(command: argparse.ArgumentParser, what: str = CHECKPOINT) -> None:
    command.add_argument("checkpoint", type=Path, metavar="CKPT", help=what)


def _add_data(command: argparse.ArgumentParser, which: str) -> None:
    command.add_argument("--data", required=True, metavar="X", help=f"{texts.DATA}; {which}")
    command.add_argument(
        "--resolution",
        type=positive,
        metavar="R",
        help=f"pixels a side: {RESIZE_RULE} (none: as they come)",
    )
    command.add_argument(
        "--channels", type=int, choices=(1, 3), help="1 = grey, 3 = RGB (none: as they come)"
    )


def _add_images(command: argparse.ArgumentParser, most: int) -> None:
    _add_data(command, "sized and coloured as for training")
    command.add_argument(
        "--part",
        choices=("train", "test"),
        help="of data that has these parts (none: test; of data without parts, all)",
    )
    command.add_argument(
        "--num",
        type=positive,
        metavar="N",
        help=f"number of images, evenly spaced over the data (none: {most}, or all of fewer)",
    )


def _add_num(command: argparse.ArgumentParser, count: int, help_text: str) -> None:
    command.add_argument("--num", type=positive, default=count, metavar="N", help=help_text)


def _add_label(
    command: argparse.ArgumentParser, help_text: str
) -> argparse._MutuallyExclusiveGroup:
    """Add what all images are asked for by, and return the group of which one may be given."""
    group = command.add_mutually_exclusive_group()
    group.add_argument("--label", type=natural, metavar="K", help=help_text)
    group.add_argument("--prompt", metavar="TEXT", help=texts.PROMPT_HELP)
    return group


def _add_sampler(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--sampler", metavar="S", help="how to draw (none: the algorithm's default), see below"
    )
    command.add_argument("--steps", type=natural, metavar="K", help="short for --set steps=K")
    _add_set(command, "an option of the sampler, see below")


def _add_picture(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="an .npz or a .png file"
    )


def _add_grid(command: argparse.ArgumentParser, help_text: str) -> None:
    command.add_argument("--grid", type=Path, metavar="FILE.png", help=help_text)


def _add_set(command: argparse.ArgumentParser, help_text: str) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="options", help=help_text
    )


def _samplers_epilog() -> str:
    return "samplers, and options of --set:\n" + "\n".join(
        map(texts.samplers_text, ALGORITHMS.values())
    )
