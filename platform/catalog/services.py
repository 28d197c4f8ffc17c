"""Registers datasets and protocols; registering the same thing twice returns the first."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from catalog.models import DamagedError, Dataset, Protocol, file_sha256
from evaluation import protocol as protocols
from evaluation.specs import CLASSIFIER, INCEPTION, has_known_weights

Report = Callable[[str], None]  # a line about progress, for people


class RegistrationError(ValueError):
    """Something cannot be registered; the message says what and why."""


@dataclass(frozen=True)
class Prepared:
    """A folder with `train.npz` and `test.npz`, and what a Dataset keeps of them."""

    folder: Path
    resolution: int  # pixels a side
    channels: int
    classes: list[str]
    train_size: int  # images
    test_size: int
    digest: str  # sha256 of what both splits hold
    train_digest: str  # sha256 of the file
    test_digest: str
    preparation: str


@dataclass(frozen=True)
class Preset:
    """A named way to score: the extractor and how many images; the reference is the train split.

    The test split stays free for the real-vs-real control, which would otherwise be compared with
    itself.
    """

    extractor: str
    num_images: int | None  # None = as many as the test split has, at most 10 000
    help: str


PRESETS = {
    "classifier-test": Preset(
        CLASSIFIER,
        None,
        "features of a classifier trained on the dataset, as many images as its test split has, "
        "at most 10,000",
    ),
    "inception-test": Preset(
        INCEPTION, None, "Inception features, as many images as the test split has, at most 10,000"
    ),
    "inception-10k-test": Preset(
        INCEPTION, 10_000, "Inception features, 10,000 images; needs as many in the test split"
    ),
}


def register_dataset(
    name: str, prepared: Prepared, *, source: str = "", licence: str = ""
) -> tuple[Dataset, bool]:
    """Register prepared images under the slug of `name`; return the row and whether it is new.

    1. The same content under the same slug: return what is there, its files put back if damaged.
    2. The same slug with other content, or the same content under another slug: refuse.
    3. Otherwise write the row and rename the prepared folder into place, both or neither.

    Raises:
        RegistrationError: if the slug or the content is taken, or no slug can be made.
    """
    slug = dataset_slug(name)
    facts = asdict(prepared)
    del facts["folder"]
    try:
        with transaction.atomic():
            if existing := _find_dataset(slug, prepared.digest):
                _restore_files(existing, prepared)
                return existing, False
            dataset = Dataset.objects.create(
                slug=slug, name=name, source=source, licence=licence, **facts
            )
            _move_into_place(prepared.folder, dataset.folder)
    except IntegrityError as error:
        raise RegistrationError(f"{slug}: cannot be registered ({error})") from error
    return dataset, True


def dataset_slug(name: str) -> str:
    """Return the slug of a dataset's name.

    Raises:
        RegistrationError: if the name has no letters or digits, or too many.
    """
    slug = slugify(name)
    if not slug or len(slug) > 100:
        raise RegistrationError(f"expected a name of 1 to 100 letters and digits, got {name!r}")
    return slug


def register_protocol(
    dataset: Dataset,
    *,
    preset: str = "classifier-test",
    num_images: int | None = None,  # None = the preset's
    weights: Path | None = None,  # of Inception; None = settings.INCEPTION_WEIGHTS
    report: Report | None = None,
) -> tuple[Protocol, bool]:
    """Return the protocol that a preset makes for a dataset, and whether it is new.

    For the dataset's classifier this trains it in another process, or finds it trained.

    Raises:
        RegistrationError: if the preset is unknown, the dataset's files are damaged, the weights
            cannot be had or the number of images does not fit the dataset.
    """
    if preset not in PRESETS:
        raise RegistrationError(f"expected a preset of {', '.join(PRESETS)}; got {preset!r}")
    chosen = PRESETS[preset]
    try:
        dataset.verify()
    except DamagedError as error:
        raise RegistrationError(str(error)) from error
    if chosen.extractor == CLASSIFIER:
        extractor = _train_classifier(dataset, weights, report or _silent)
    else:
        extractor = _keep_inception(weights, report or _silent)
    try:
        protocol = protocols.build_protocol(
            _dataset_facts(dataset),
            extractor=chosen.extractor,
            weights_sha256=extractor.sha256,
            recipe=extractor.recipe,
            num_images=chosen.num_images if num_images is None else num_images,
            reference_split="train",
        )
    except protocols.ProtocolError as error:
        raise RegistrationError(f"{dataset.slug}, preset {preset}: {error}") from error
    return Protocol.objects.get_or_create(
        fingerprint=protocol.fingerprint(),
        defaults={
            "name": preset if num_images is None else f"{preset}, {num_images} images",
            "dataset": dataset,
            "record": protocol.to_record(),
            "extractor": chosen.extractor,
            "extractor_weights": _relative(extractor.path),
            "facts": extractor.facts,
            "num_images": protocol.num_images,
        },
    )


def _find_dataset(slug: str, digest: str) -> Dataset | None:
    by_slug = Dataset.objects.filter(slug=slug).first()
    by_content = Dataset.objects.filter(digest=digest).first()
    if by_slug and by_slug.digest != digest:
        raise RegistrationError(
            f"{slug}: registered on {by_slug.created_at:%Y-%m-%d} with other content "
            f"({by_slug.digest[:12]}, not {digest[:12]}); choose another name"
        )
    if by_content and by_content.slug != slug:
        raise RegistrationError(f"{slug}: the same content is registered as {by_content.slug}")
    return by_slug


def _restore_files(dataset: Dataset, prepared: Prepared) -> None:
    """Put back the files of a registered dataset if they are missing or damaged."""
    try:
        dataset.verify()
    except DamagedError as error:
        found = (prepared.train_digest, prepared.test_digest)
        if found != (dataset.train_digest, dataset.test_digest):
            raise RegistrationError(f"{error}; the new files differ too") from error
        _move_into_place(prepared.folder, dataset.folder)


def _move_into_place(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        # Left behind by a process that was killed between the rename and the commit.
        shutil.rmtree(target)
    folder.rename(target)


def _dataset_facts(dataset: Dataset) -> protocols.DatasetFacts:
    return protocols.DatasetFacts(
        slug=dataset.slug,
        resolution=dataset.resolution,
        channels=dataset.channels,
        splits={
            "train": protocols.SplitFacts(dataset.train_digest, dataset.train_size),
            "test": protocols.SplitFacts(dataset.test_digest, dataset.test_size),
        },
    )


# --- Extractors -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Extractor:
    path: Path  # below DATA_DIR
    sha256: str
    recipe: dict[str, Any]
    facts: dict[str, Any]


def _relative(path: Path) -> str:
    return path.resolve().relative_to(settings.DATA_DIR.resolve()).as_posix()


def _silent(line: str) -> None:
    pass


def _keep_inception(weights: Path | None, report: Report) -> _Extractor:
    """Keep a copy of the weights file, or the downloaded known one, in the data folder."""
    given = weights or (Path(settings.INCEPTION_WEIGHTS) if settings.INCEPTION_WEIGHTS else None)
    out = settings.DATA_DIR / "extractors"
    kept = _find_kept(given, out)
    if kept is None:
        options = [] if given is None else ["--weights", str(given)]
        answer = _run_evaluation(["inception", *options, "--out", str(out), "--json"], report)
        kept = Path(answer["weights"])
    digest = file_sha256(kept)
    facts = {
        "weights_file": (given or kept).name,
        "known_weights": has_known_weights(INCEPTION, digest),
    }
    return _Extractor(kept, digest, {}, facts)


def _find_kept(given: Path | None, folder: Path) -> Path | None:
    """Return the copy of a weights file that was checked and kept earlier."""
    if given is None or not given.is_file():
        return None
    digest = file_sha256(given)
    kept = folder / f"inception-{digest[:16]}.pth"
    return kept if kept.is_file() and file_sha256(kept) == digest else None


def _train_classifier(dataset: Dataset, weights: Path | None, report: Report) -> _Extractor:
    if weights is not None:
        raise RegistrationError("a dataset classifier is trained; --weights is for Inception")
    if not dataset.classes:
        raise RegistrationError(
            f"{dataset.slug}: unlabelled, so it has no classifier; choose an inception preset"
        )
    out = settings.DATA_DIR / "extractors"
    out.mkdir(parents=True, exist_ok=True)
    answer = _run_evaluation(
        [
            "classifier",
            *("--data", str(dataset.train_path)),
            *("--test", str(dataset.test_path)),
            *("--out", str(out)),
            "--json",
        ],
        report,
    )
    return _Extractor(
        path=Path(answer["weights"]),
        sha256=answer["weights_sha256"],
        recipe=answer["recipe"],
        facts={"test_accuracy": answer["test_accuracy"]},
    )


def _run_evaluation(arguments: list[str], report: Report) -> dict[str, Any]:
    """Run `python -m evaluation` and return the JSON it prints; its log lines go to `report`.

    In another process: this one never imports torch.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(  # noqa: S603  # our own module, arguments of our own making
            [sys.executable, "-m", "evaluation", *arguments],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        lines: list[str] = []
        with process:
            assert process.stderr is not None, "it was asked for"
            for line in process.stderr:
                lines.append(line.rstrip())
                report(line.rstrip())
        output.seek(0)
        if process.returncode == 0:
            answer: dict[str, Any] = json.load(output)
            return answer
    reason = "\n".join(lines[-20:]) or "no message"
    raise RegistrationError(
        f"python -m evaluation {arguments[0]} ended with {process.returncode}: {reason}"
    )


def _environment() -> dict[str, str]:
    paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if settings.TORCH_THREADS:
        environment["OMP_NUM_THREADS"] = str(settings.TORCH_THREADS)
    return environment
