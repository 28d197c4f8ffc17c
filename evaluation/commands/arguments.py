"""The options of ``python -m evaluation``."""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import torch

from evaluation.commands.handing_in import add_parsers
from evaluation.protocols.extractor_specs import FIDELITY_PREFIX, INCEPTION
from evaluation.protocols.extractors import EXTRACTORS, get_extractor
from evaluation.protocols.labels import Wanted, read_rule
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.presets import PRESETS
from evaluation.protocols.prompts import PromptSet, packaged_prompts, read_prompts
from evaluation.scenes.claims import SIDES
from evaluation.scenes.prompt_set import IMAGES_PER_PROMPT, SCENES

Command = Callable[[argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

PARTS = ("train", "test")
DEVICES = ("cpu", "cuda", "mps")
CACHE_BYTES = 20 * 2**30
IMAGES = (
    "Images are a folder, a .zip or .tar archive, an .npz or .npy array (uint8 NHWC or NCHW), or "
    ".parquet files with an image column."
)
_PROMPTS_HELP = (
    "the prompts (JSON) that images are asked with, image i with prompt i mod P; "
    f"{SCENES} = the packaged ones"
)


def build_parser(commands_by_name: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of all commands; each stores its function as `options.command`."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Score generated images under one fixed protocol.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_score(commands)
    _add_compare(commands)
    _add_protocol(commands)
    _add_admit(commands)
    _add_reference(commands)
    _add_classifier(commands)
    _add_inception(commands)
    _add_scenes(commands)
    _add_prompts(commands)
    add_parsers(commands)
    for name, command in commands_by_name.items():
        commands.choices[name].set_defaults(command=command)
    return parser


def _add_score(commands: Commands) -> None:
    score = _command(
        commands,
        "score",
        help="measure generated against reference images",
        description=f"Measure GENERATED against the reference images. {IMAGES}",
    )
    score.add_argument("generated", type=Path, metavar="GENERATED")
    score.add_argument(
        "--reference",
        required=True,
        help="real images, a saved reference's name, or an .npz of published mu and sigma; in one "
        "that holds images too, these are measured against and the statistics checked with them",
    )
    _add_data(score)
    _add_choices(score, else_scored="all generated ones")
    score.add_argument(
        "--protocol",
        metavar="SOURCE",
        help="score under this protocol instead: a file (JSON, or what a site's API answers) or the "
        "address of its page or in the API",
    )
    score.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    score.add_argument("--batch-size", type=_positive, help="images at a time")
    score.add_argument("--part", choices=PARTS, help="which part of GENERATED, if it has parts")
    score.add_argument(
        "--allow-lossy",
        action="store_true",
        help="score generated images from JPEG or lossy WebP files too: another protocol",
    )
    _add_common(score)


def _add_protocol(commands: Commands) -> None:
    protocol = _command(
        commands,
        "protocol",
        help="make a protocol for a dataset, with its weights and admission test",
        description="Make the protocol that `score` would use, train or find its weights, and put "
        "its extractor to the admission test.",
    )
    protocol.add_argument("--reference", required=True, help="real images")
    _add_data(protocol)
    _add_choices(protocol, else_scored="as many as --held-out has")
    protocol.add_argument(
        "--admission-images",
        type=_whole,
        default=0,
        metavar="N",
        help="put the extractor to the admission test, N images on each side; 0 = not",
    )
    protocol.add_argument("--json", type=Path, metavar="FILE", help="write it to FILE")
    _add_common(protocol)


def _add_admit(commands: Commands) -> None:
    admit = _command(
        commands,
        "admit",
        help="test whether an extractor is fit for a dataset",
        description="Measure the floor between real images, the response to growing corruption, "
        "the independence of the batch size and, on --held-out, how often a classifier is right. "
        "The exit status is 0 if the extractor passes, else 1.",
    )
    admit.add_argument("--reference", required=True, help="real images")
    _add_data(admit)
    admit.add_argument("--extractor", type=_extractor, help=f"{_extractor_help()} ({INCEPTION})")
    admit.add_argument(
        "--protocol",
        metavar="SOURCE",
        help="test this protocol (a file or an address): its extractor, on no more images than it scores, and "
        "whether they are enough for its metrics",
    )
    admit.add_argument(
        "--num-images", type=_positive, default=1000, help="on each side of a comparison"
    )
    admit.add_argument("--json", type=Path, metavar="FILE", help="write the record to FILE")
    _add_common(admit)


def _add_reference(commands: Commands) -> None:
    reference = commands.add_parser(
        "reference", help="keep features or published statistics of reference images by name"
    )
    actions = reference.add_subparsers(required=True, metavar="ACTION", dest="action")
    build = _command(actions, "build", help="compute and keep the features of real images")
    build.add_argument("reference", metavar="IMAGES", help="real images")
    build.add_argument("--name", required=True, help="what `score --reference` calls it")
    _add_data(build)
    build.add_argument("--extractor", type=_extractor, default=INCEPTION, help=_extractor_help())
    _add_common(build)
    listed = _command(actions, "list", help="list what is kept")
    listed.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_cache(listed)
    imported = _command(
        actions,
        "import",
        help="keep published statistics",
        description="Keep an .npz with mu and sigma, as pytorch-fid, ADM and EDM publish them. Only "
        "the Fréchet distance can be measured against it.",
    )
    imported.add_argument("statistics", type=Path, metavar="FILE")
    imported.add_argument("--name", required=True, help="what `score --reference` calls it")
    imported.add_argument("--extractor", type=_extractor, default=INCEPTION, help=_extractor_help())
    imported.add_argument("--num-images", type=_positive, help="that were measured, if it is known")
    _add_cache(imported)


def _add_classifier(commands: Commands) -> None:
    classifier = _command(
        commands,
        "classifier",
        help="train a dataset classifier, or find it in the cache",
        description="Train the classifier of a dataset, or find it in the cache.",
    )
    classifier.add_argument("--data", type=Path, required=True, help="labelled train images")
    classifier.add_argument("--test", type=Path, help="labelled images to measure accuracy on")
    classifier.add_argument("--out", type=Path, required=True, help="folder of trained classifiers")
    classifier.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_inception(commands: Commands) -> None:
    inception = _command(
        commands,
        "inception",
        help="find, check or download the weights that FID needs",
        description="Check a file of Inception weights, or find or download the known one, and "
        "keep it under its sha256 in the folder of weights.",
    )
    inception.add_argument("--weights", type=Path, help="a local file; by default downloaded")
    inception.add_argument("--out", type=Path, required=True, help="folder of weights")
    inception.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_scenes(commands: Commands) -> None:
    scenes = _command(
        commands,
        "scenes",
        help="draw captioned scenes of colours and shapes that can be read back",
        description="Write scenes of one to three objects with their captions: an .npz of one split, "
        "or a folder with train.npz and test.npz. Four pairs of colour and shape are in the test "
        "split alone. With --prompts, write real scenes that follow the prompts: the ceiling of "
        "following, or with --shuffled its floor.",
    )
    scenes.add_argument("--side", type=int, choices=SIDES, default=SIDES[0], help="pixels a side")
    scenes.add_argument("--num", type=_positive, default=20_000, help="of train, or of --split")
    scenes.add_argument("--num-test", type=_positive, default=4_000, help="of test in a folder")
    only = scenes.add_mutually_exclusive_group()
    only.add_argument("--split", choices=PARTS, help="write this split alone, as an .npz")
    only.add_argument("--prompts", type=_prompts, metavar="FILE", help=_PROMPTS_HELP)
    scenes.add_argument("--images-per-prompt", type=_positive, default=IMAGES_PER_PROMPT)
    scenes.add_argument(
        "--shuffled", action="store_true", help="draw each scene for the prompt of another image"
    )
    scenes.add_argument("--seed", type=_whole, default=0, help="they are drawn from")
    scenes.add_argument(
        "--out", type=Path, required=True, help="FILE.npz with --split or --prompts, else a folder"
    )


def _add_prompts(commands: Commands) -> None:
    prompts = _command(commands, "prompts", help="write the packaged prompts of scenes as JSON")
    prompts.add_argument("--out", type=Path, required=True, metavar="FILE", help="a JSON file")


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="say whether two results may be compared",
        description="Say whether two results (of score --json) or protocols may be compared. "
        "The exit status is 0 if they may and 1 if not.",
    )
    compare.add_argument("a", type=Path, metavar="A.json")
    compare.add_argument("b", type=Path, metavar="B.json")


def _command(commands: Commands, name: str, **texts: str) -> argparse.ArgumentParser:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    return commands.add_parser(name, formatter_class=formatter, **texts)  # type: ignore[arg-type]  # texts alone


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference-part", choices=PARTS, default="train", help="which part of the reference"
    )
    parser.add_argument(
        "--held-out", type=Path, metavar="IMAGES", help="real images that nothing was trained on"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        help="the extractor's weights file, or the folder of a trained classifier",
    )
    parser.add_argument(
        "--classifier-data",
        type=Path,
        help="labelled images to train the classifier on; by default the reference",
    )


def _add_choices(parser: argparse.ArgumentParser, *, else_scored: str) -> None:
    presets = "; ".join(f"{name}: {preset.help}" for name, preset in PRESETS.items())
    parser.add_argument(
        "--preset",
        choices=list(PRESETS),
        metavar="PRESET",
        help=f"{presets}. The test split is what --held-out names; without it as many images are "
        "scored as the reference has, at most 10,000",
    )
    parser.add_argument("--extractor", type=_extractor, help=f"{_extractor_help()} ({INCEPTION})")
    parser.add_argument(
        "--metrics",
        type=_metrics,
        metavar="A,B",
        help=f"of {', '.join(METRICS)}; by default those that need nothing special",
    )
    parser.add_argument(
        "--num-images",
        type=_positive,
        help=f"how many to score; by default what the preset says, else {else_scored}",
    )
    parser.add_argument(
        "--labels",
        type=_labels,
        metavar="RULE",
        help="the shares in which conditional samples are drawn: reference, uniform (of the "
        "reference's classes) or K,K,…, a whole number for each class; by default those of the "
        "reference, if it is labelled",
    )
    parser.add_argument(
        "--prompts",
        type=_prompts,
        metavar="FILE",
        help=_PROMPTS_HELP,
    )
    parser.add_argument(
        "--images-per-prompt",
        type=_positive,
        help="images that each prompt is asked for; by default as many as are scored",
    )
    parser.add_argument(
        "--clip",
        type=Path,
        metavar="FOLDER",
        help="a CLIP-like model, as transformers saves it: adds clip_score, how well images and "
        "prompts agree by it; with --protocol the one that it names (else looked for in --cache)",
    )


def _extractor_help() -> str:
    return f"{', '.join(EXTRACTORS)}, or {FIDELITY_PREFIX}NAME of torch-fidelity's registry"


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_cache(parser)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument(
        "--device", type=_device, default=device, help="where features are computed"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile Inception first, which saves time for many images on a cuda device; values "
        "change by rounding alone, so the protocol is the same",
    )


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache", type=Path, default=_default_cache(), help="folder of weights and features"
    )
    parser.add_argument(
        "--cache-bytes",
        type=_positive,
        default=os.environ.get("TRILEMMA_CACHE_BYTES", str(CACHE_BYTES)),
        help="of kept features together, the least recently used go first; TRILEMMA_CACHE_BYTES",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _whole(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _extractor(text: str) -> str:
    try:
        return get_extractor(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _metrics(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in METRICS]:
        known = ", ".join(METRICS)
        raise argparse.ArgumentTypeError(f"expected metrics of {known}; got {unknown[0]!r}")
    return names


def _prompts(text: str) -> PromptSet:
    """Return packaged prompts, or those in a file; one called so is reached by ./scenes."""
    if text == SCENES:
        return packaged_prompts(text)
    try:
        return read_prompts(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _labels(text: str) -> Wanted:
    try:
        return read_rule(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _device(text: str) -> str:
    if text.split(":")[0] not in DEVICES:
        raise argparse.ArgumentTypeError(
            f"no device {text!r} here: expected {', '.join(DEVICES)} or one of them with a number"
        )
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"no device {text!r} here: {reason}") from error
    return text


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trilemma"
