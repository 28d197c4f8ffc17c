"""What must stay as it was: protocols, digests, algorithms, the API's description, command lines.

Each function returns plain JSON values, as the code of today makes them.
"""

import contextlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.core.management import call_command, get_commands, load_command_class
from django.core.management.base import BaseCommand
from PIL import Image

from catalog.preparation import DIGITS, prepare_packaged, prepare_path
from catalog.services import PreparedDataset
from evaluation.__main__ import main as evaluation_main
from evaluation.imagesets.opening import open_images
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import INCEPTION, INCEPTION_2015_SHA256
from evaluation.protocols.extractors import EXTRACTORS
from evaluation.protocols.metrics import METRICS, is_of_prompts
from evaluation.protocols.presets import PRESETS
from evaluation.protocols.prompts import packaged_prompts
from evaluation.protocols.record import LOSSY_ACCEPTED, Protocol
from generators.__main__ import main as generators_main

Facts = dict[str, Any]

FROZEN = Path(__file__).parent / "frozen"


def frozen(name: str) -> Facts:
    """Return what a file holds."""
    found: Facts = json.loads((FROZEN / f"{name}.json").read_text("utf-8"))
    return found


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """Return a line for each value that is not as it was, with the way to it."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted({*before, *now}, key=str)
        pairs = [(name, before.get(name, "nothing"), now.get(name, "nothing")) for name in names]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(str(n), *both) for n, both in enumerate(zip(before, now, strict=True))]
    else:
        return [] if before == now else [f"{path}: was {_short(before)}, is {_short(now)}"]
    return [line for name, a, b in pairs for line in changes(a, b, f"{path}/{name}")]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def text(value: Facts) -> str:
    """Return a file's JSON, with a line for each value down to the third level."""
    return _text(value, depth=0) + "\n"


def _text(value: Any, *, depth: int) -> str:
    if depth == 3 or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    pairs = value.items() if isinstance(value, dict) else [("", part) for part in value]
    lines = [
        (f"{json.dumps(name)}: " if name else "") + _text(part, depth=depth + 1)
        for name, part in pairs
    ]
    start, end = "{}" if isinstance(value, dict) else "[]"
    indent = "\n" + " " * (depth + 1)
    return start + indent + f",{indent}".join(lines) + indent[:-1] + end


# --- protocols --------------------------------------------------------------------------------


def protocols() -> Facts:
    """Return the record, the canonical JSON, the fingerprint and the labels of each example."""
    return {name: _protocol(build()) for name, build in _examples().items()}


def _protocol(protocol: Protocol) -> Facts:
    return {
        "record": protocol.to_record(),
        "canonical_json": protocol.canonical_json(),
        "fingerprint": protocol.fingerprint(),
        "labels": {metric: protocol.label(metric) for metric in protocol.metrics},
    }


def _examples() -> dict[str, Callable[[], Protocol]]:
    """Return how each example is made: every preset, every extractor, and what else there is."""
    found: dict[str, Callable[[], Protocol]] = {}
    for name, preset in PRESETS.items():
        found[f"preset {name}"] = lambda preset=preset: _build(  # type: ignore[misc]  # bound now
            preset.extractor,
            metrics=preset.metrics,
            num_images=preset.num_images,
            prompts=packaged_prompts(preset.prompts) if preset.prompts else None,
            images_per_prompt=preset.images_per_prompt,
        )
    for name in EXTRACTORS:
        found[f"extractor {name}"] = lambda name=name: _build(  # type: ignore[misc]  # bound now
            name, dataset=COLOURED, num_images=1000
        )
    return found | {
        "extractor of torch-fidelity": lambda: _build("torch-fidelity/vgg16", dim=4096),
        "pixels of an untested dataset": lambda: _build("pixels-pca64", dataset=UNTESTED, dim=37),
        "weights of nobody": lambda: _build(INCEPTION, weights_sha256="9" * 64),
        "recipe": lambda: _build("dataset-classifier", recipe={"epochs": 3, "rate": 1e-3}),
        "every metric": lambda: _build(
            "dataset-classifier", metrics=[name for name in METRICS if not is_of_prompts(name)]
        ),
        "two metrics": lambda: _build(INCEPTION, metrics=["kd", "fd"], num_images=77),
        "lossy images": lambda: _build(INCEPTION, lossy=LOSSY_ACCEPTED),
        "labels as the reference": lambda: _build("dataset-classifier", dataset=LABELLED),
        "labels in equal shares": lambda: _build(
            "dataset-classifier", dataset=LABELLED, labels="uniform"
        ),
        "labels in given shares": lambda: _build(
            "dataset-classifier", dataset=LABELLED, labels=(0, 7, 3)
        ),
        "test split as reference": lambda: _build(INCEPTION, reference_split="test"),
        "published statistics": lambda: _build(
            INCEPTION, dataset=STATISTICS, num_images=50_000, metrics=["fd", "fd_infinity"]
        ),
    }


def _build(extractor: str, *, dataset: DatasetFacts | None = None, **more: Any) -> Protocol:
    known = INCEPTION_2015_SHA256 if extractor == INCEPTION else "4" * 64
    options = {"weights_sha256": known, "recipe": {}, **more}
    if extractor == "pixels-pca64":
        options.setdefault("dim", 64)
    return build_protocol(dataset or GREY, extractor=extractor, **options)


GREY = DatasetFacts(
    slug="digits",
    resolution=8,
    channels=1,
    splits={"train": SplitFacts("1" * 64, 1297), "test": SplitFacts("2" * 64, 500)},
)
LABELLED = replace(
    GREY,
    splits={**GREY.splits, "train": SplitFacts("1" * 64, 1297, class_counts=(0, 900, 397))},
)
COLOURED = DatasetFacts(
    slug="cifar10",
    resolution=32,
    channels=3,
    splits={"train": SplitFacts("a" * 64, 50_000), "test": SplitFacts("b" * 64, 10_000)},
)
UNTESTED = DatasetFacts(
    slug="faces", resolution=64, channels=3, splits={"train": SplitFacts("c" * 64, 3000)}
)
STATISTICS = DatasetFacts(
    slug="imagenet",
    resolution=64,
    channels=3,
    splits={"train": SplitFacts("d" * 64, 0, kind="statistics")},
)


def refusal(record: object) -> str:
    """Return why a record is no protocol, "" if it is one."""
    try:
        Protocol.from_record(record)
    except ProtocolError as error:
        return str(error)
    return ""


# --- datasets ---------------------------------------------------------------------------------


def datasets() -> Facts:
    """Return the sizes, classes and digests of the packaged digits and of small sets of files."""
    with tempfile.TemporaryDirectory() as temporary:
        parted, whole = _write_sets(Path(temporary))
        return {
            "digits": _dataset(prepare_packaged(DIGITS)),
            "digits, 16 pixels, three channels": _dataset(
                prepare_packaged(DIGITS, resolution=16, channels=3)
            ),
            "folder with train and test": _dataset(prepare_path(parted)),
            "folder, 5 pixels, grey": _dataset(prepare_path(parted, resolution=5, channels=1)),
            "zip of classes": _dataset(prepare_path(whole)),
            "zip of classes, half of them for the test": _dataset(
                prepare_path(whole, test_fraction=0.5)
            ),
        }


PREPARED = (
    *("resolution", "channels", "classes", "train_size", "test_size"),
    *("digest", "train_digest", "test_digest"),
)


def _dataset(preparing: AbstractContextManager[PreparedDataset]) -> Facts:
    with preparing as prepared:
        return {name: getattr(prepared, name) for name in PREPARED} | {
            f"{part}_images_digest": open_images(prepared.folder / f"{part}.npz").digest()
            for part in ("train", "test")
        }


def _write_sets(folder: Path) -> tuple[Path, Path]:
    """Write a folder with train/ and test/, and a zip archive of classes; return both."""
    parted, whole = folder / "parted", folder / "whole.zip"
    pixels = iter(_pictures(28))
    for part, count in (("train", 5), ("test", 2)):
        for name in ("2", "10"):  # numbers are sorted as numbers
            (parted / part / name).mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(next(pixels))
                image.save(parted / part / name / f"{number}.png")
    with zipfile.ZipFile(whole, "w") as archive:
        for name in ("ash", "oak"):
            for number in range(6):
                archive.writestr(f"trees/{name}/{number}.png", _png(next(pixels)[..., 0]))
    return parted, whole


def _pictures(count: int) -> npt.NDArray[np.uint8]:
    """Return different images, (N, 8, 8, 3), made of whole numbers alone."""
    number, y, x, channel = np.ogrid[:count, :8, :8, :3]
    values = number * 37 + y * y * 11 + x * 29 + x * y * (channel + 5)
    return np.asarray(values % 256, np.uint8)


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


# --- algorithms and the API -------------------------------------------------------------------


def algorithms() -> Facts:
    """Return every algorithm's options, presets and samplers, complete, by its name."""
    status, out = run(generators_main, ["list", "--json"])
    assert status == 0, out
    return {record["name"]: record for record in json.loads(out)}


def schema() -> Facts:
    """Return the OpenAPI description without the version of Trilemma."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.json"
        call_command("spectacular", format="openapi-json", file=str(file))
        described: Facts = json.loads(file.read_text("utf-8"))
    del described["info"]["version"]
    return described


# --- command lines ----------------------------------------------------------------------------

Main = Callable[[Sequence[str]], int]

PROGRAMS: Mapping[str, Main] = {
    "generators": generators_main,
    "evaluation": evaluation_main,
}
SUBCOMMANDS: Mapping[str, Sequence[str]] = {
    "generators": (
        *("", "list", "train", "sample", "reconstruct", "trajectory", "interpolate"),
        *("noise", "measure", "export", "inspect"),
    ),
    "evaluation": (
        *("", "score", "compare", "protocol", "admit", "reference", "reference build"),
        *("reference list", "reference import", "classifier", "inception"),
    ),
}
MANAGE = (
    *(
        "admit_protocol",
        "api_token",
        "backup",
        "collect_garbage",
        "demo",
        "register_dataset",
        "register_prompts",
        "register_protocol",
    ),
    *("restore", "run_experiment", "store_files", "submit", "verify_files", "worker_alive"),
)
TRAIN = "train vae.conv --data digits --out {tmp}/new"
SCORE = "score {tmp}/none.npz --reference"
CALLS = (  # "{tmp}" is an empty folder
    "generators",
    "generators --help",
    "generators nonsense",
    "generators list",
    "generators list --nonsense",
    "generators list gan.nothing",
    "generators train vae.conv",
    f"generators {TRAIN}",
    f"generators {TRAIN} --budget-images 0",
    f"generators {TRAIN} --budget-images 16 --budget-seconds 1",
    f"generators {TRAIN} --budget-images 16 --images 16",
    f"generators {TRAIN} --seconds 0",
    f"generators {TRAIN} --preset nonsense",
    f"generators {TRAIN} --budget-images 16 --resume",
    f"generators {TRAIN} --budget-images 16 --set nonsense=1",
    f"generators {TRAIN} --budget-images 16 --set batch_size",
    f"generators {TRAIN} --budget-images 16 --checkpoint-at 32",
    "generators train vae.nothing --data digits --out {tmp}/new --budget-images 16",
    "generators train vae.conv --data {tmp}/none --out {tmp}/new --budget-images 16",
    "generators train vae.conv --data digits --out {one} --budget-images 16",
    "generators sample {tmp}/none --out {tmp}/set.npz",
    "generators sample {tmp}/none --out {tmp}/set.npz --count 0",
    "generators measure {tmp}/none --data digits",
    "generators export {tmp}/none --format nonsense --out {tmp}/new",
    "generators export {tmp}/none --format safetensors --out {tmp}/new",
    "evaluation",
    "evaluation --help",
    "evaluation nonsense",
    "evaluation score",
    f"evaluation {SCORE} {{tmp}}/none.npz",
    f"evaluation {SCORE} {{tmp}}/none.npz --metrics nonsense",
    f"evaluation {SCORE} {{tmp}}/none.npz --extractor nonsense",
    f"evaluation {SCORE} {{tmp}}/none.npz --preset nonsense",
    f"evaluation {SCORE} {{tmp}}/none.npz --json {{tmp}}/no/result.json",
    "evaluation compare {tmp}/none.json {tmp}/none.json",
    "evaluation compare {one} {one}",
    "evaluation compare {one} {other}",
    "evaluation protocol --reference {tmp}/none --cache {tmp}",
    "evaluation admit --reference {tmp}/none --cache {tmp}",
    "evaluation reference",
    "evaluation reference list --cache {tmp}",
    "evaluation reference import {tmp}/none.npz --name one --cache {tmp}",
    "evaluation classifier --data {tmp}/none --out {tmp}",
    "evaluation inception --weights {tmp}/none --out {tmp}",
)


def commands() -> Facts:
    """Return the options of every command and the exit status of some calls, most of them wrong."""
    return {
        "options": {
            f"{program} {command}".rstrip(): _options(program, command)
            for program, names in SUBCOMMANDS.items()
            for command in names
        }
        | {f"manage.py {name}": _manage_options(name) for name in MANAGE},
        "exit_status": _exit_statuses(),
    }


def run(main: Main, arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit status of a command and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
    return status, out.getvalue()


def _options(program: str, command: str) -> list[str]:
    """Return the options that a command's help lists, one a line."""
    status, out = run(PROGRAMS[program], [*command.split(), "--help"])
    assert status == 0, f"{program} {command} --help"
    return sorted(re.findall(r"^  (?:-\w, )?(--[\w-]+)", out, re.MULTILINE))


def _manage_options(name: str) -> list[str]:
    def names(command: BaseCommand) -> set[str]:
        actions = command.create_parser("manage.py", name)._actions
        return {text for action in actions for text in action.option_strings or [action.dest]}

    return sorted(names(load_command_class(get_commands()[name], name)) - names(BaseCommand()))


def _exit_statuses() -> dict[str, int]:
    with _folder() as places:
        found = {}
        for call in CALLS:
            program, *arguments = call.split()
            found[call], _ = run(PROGRAMS[program], [a.format(**places) for a in arguments])
        return found


@contextlib.contextmanager
def _folder() -> Iterator[dict[str, str]]:
    """Yield an empty folder, and the files of two protocols that are not comparable."""
    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as folder:
        places = {"tmp": empty}
        for name, extractor in (("one", "dataset-classifier"), ("other", "random-convolution")):
            file = Path(folder) / f"{name}.json"
            file.write_text(json.dumps({"protocol": _build(extractor).to_record()}))
            places[name] = str(file)
        yield places


CURRENT: Mapping[str, Callable[[], Facts]] = {
    "protocols": protocols,
    "datasets": datasets,
    "algorithms": algorithms,
    "schema": schema,
    "commands": commands,
}
