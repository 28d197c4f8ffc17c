"""Registers datasets and protocols; registering the same thing twice returns the first."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from catalog import stored
from catalog.engine import RegistrationError, Report, run_evaluation, silent, words
from catalog.models import EXTRACTORS, Dataset, PromptSet, Protocol
from catalog.names import name_problem
from catalog.stored import BucketError, DamagedError, StoredFile
from evaluation.imagesets.atomic import move_folder
from evaluation.protocols.extractor_specs import INCEPTION, STACKED
from evaluation.protocols.extractors import get_extractor
from evaluation.protocols.labels import REFERENCE, read_rule
from evaluation.protocols.presets import PRESETS, get_preset
from evaluation.protocols.prompts import PromptSet as Prompts, packaged_prompts

Row = TypeVar("Row", Dataset, PromptSet)
DEFAULT_PRESET = "classifier-test"
ADMISSION_IMAGES = 1_000  # real images that an extractor is tested on before it may score


@dataclass(frozen=True)
class PreparedDataset:
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
    train_lossy: int = 0  # images known to come from lossy files
    test_lossy: int = 0
    captions: dict[str, Any] | None = None  # what they are; None = images without
    left_out: tuple[str, ...] = ()  # what of the source is not in the splits, in words


@dataclass(frozen=True)
class Scoring:
    """How a protocol is to score: a preset, or an extractor; the rest as these say by default.

    The reference is always the train split. The test split is held out: metrics of memorisation
    need images that no model has seen, and so does the control of real images.
    """

    preset: str = ""
    extractor: str = ""
    metrics: tuple[str, ...] = ()
    num_images: int | None = None
    prompts: str = ""  # slug of the set that images are asked with; "" = without
    images_per_prompt: int | None = None
    labels: str = ""  # the rule of conditional samples; "" = as the reference, if it is labelled
    weights: Path | None = None  # of the extractor; for Inception else settings.INCEPTION_WEIGHTS
    classifier_data: Path | None = None  # labelled images, for a stacked classifier
    clip: Path | None = None  # folder of a CLIP-like model, that judges agreement with prompts

    @property
    def extractor_name(self) -> str:
        return PRESETS[self.preset].extractor if self.preset else self.extractor

    @property
    def name(self) -> str:
        """Return what the protocol is called: "inception-test, 500 images"."""
        parts = [self.preset or self.extractor, ", ".join(self.metrics)]
        parts.append(f"{self.num_images} images" if self.num_images else "")
        parts.append(f"prompts {self.prompts}" if self.prompts else "")
        parts.append(f"agreement by {self.clip.resolve().name}" if self.clip else "")
        parts.append(f"labels {self.labels}" if self.labels not in ("", REFERENCE) else "")
        return ", ".join(filter(None, parts))[:200]


def register_dataset(
    name: str, prepared: PreparedDataset, *, source: str = "", licence: str = ""
) -> tuple[Dataset, bool]:
    """Register prepared images under the slug of `name`; return the row and whether it is new.

    1. The same content under the same slug: return what is there, its files put back if damaged.
    2. The same slug with other content, or the same content under another slug: refuse.
    3. Otherwise write the row and rename the prepared folder into place, both or neither.

    Raises:
        RegistrationError: if the slug or the content is taken, or no slug can be made.
        BucketError: if a bucket is to keep the files and does not take them.
    """
    slug = slug_of(name, "dataset")
    facts = asdict(prepared)
    del facts["folder"], facts["left_out"]
    try:
        with transaction.atomic():
            if existing := find_registered(Dataset, slug, prepared.digest):
                _restore_files(existing, prepared)
                existing.count_lossy(prepared.train_lossy, prepared.test_lossy)
                return existing, False
            dataset = Dataset.objects.create(
                slug=slug, name=name, source=source, licence=licence, **facts
            )
            _move_into_place(prepared.folder, dataset.folder)
            _keep_or_remove(dataset.folder)
    except IntegrityError as error:
        raise RegistrationError(f"{slug}: cannot be registered ({error})") from error
    return dataset, True


def _keep_or_remove(folder: Path) -> None:
    try:
        stored.keep(folder, StoredFile.Kind.DATASET)
    except BucketError:
        shutil.rmtree(folder)
        raise


def slug_of(name: str, what: str) -> str:
    """Return the slug of a name: its letters a to z and its digits; what: what errors call it.

    Raises:
        RegistrationError: if the name has none of these, or too many, or cannot be a name.
    """
    slug = slugify(name)
    if slug and len(slug) <= 100:
        if problem := name_problem(name, 200):
            raise RegistrationError(problem)
        return slug
    told = f"expected a name of 1 to 100 letters and digits, got {name!r}"
    if not slug and any(map(str.isalnum, name)):
        told += (
            f"; the {what}'s address takes letters a to z and digits alone: add a word of them, as "
            f"in {name + ' (flowers)'!r}, and the name is shown whole"
        )
    raise RegistrationError(told)


def register_protocol(
    dataset: Dataset,
    scoring: Scoring | None = None,  # None = DEFAULT_PRESET
    *,
    admission_images: int = ADMISSION_IMAGES,  # of the reference; 0 = the extractor is not tested
    report: Report | None = None,
) -> tuple[Protocol, bool]:
    """Return the protocol that scores a dataset so, and whether it is new.

    Another process makes it: it finds, trains or copies the extractor's weights, digests the images
    and puts the extractor to its admission test. What that found is kept, and found anew where an
    earlier registration went without.

    Raises:
        RegistrationError: if preset or extractor are unknown, the dataset's files are damaged, the
            weights cannot be had, or a metric needs what the dataset does not have.
    """
    scoring = scoring or Scoring(preset=DEFAULT_PRESET)
    _check(dataset, scoring)
    prompt_set = _prompt_set(scoring)
    options = [*_options(dataset, scoring), "--admission-images", str(admission_images)]
    with tempfile.TemporaryDirectory() as folder:
        if prompt_set is not None:
            file = Path(folder) / "prompts.json"
            file.write_text(json.dumps(prompt_set.record), encoding="utf-8")
            options += ["--prompts", str(file)]
        answer = run_evaluation(
            ["protocol", *options], report or silent, what=f"{dataset}, {scoring.name}"
        )
    return _keep_protocol(dataset, scoring, answer)


def _check(dataset: Dataset, scoring: Scoring) -> None:
    """Refuse what would fail after minutes, or with words that do not fit the site."""
    try:
        get_preset(scoring.preset) if scoring.preset else get_extractor(scoring.extractor)
        if scoring.labels:
            read_rule(scoring.labels)
        dataset.verify()
    except (ValueError, DamagedError) as error:
        raise RegistrationError(str(error)) from error
    if get_extractor(scoring.extractor_name).trained_on != "dataset":
        return
    if scoring.weights is not None:
        raise RegistrationError("a dataset classifier is trained; --weights is for published ones")
    if not dataset.classes:
        raise RegistrationError(
            f"{dataset.slug}: unlabelled, so it has no classifier; choose another preset"
        )


def _prompt_set(scoring: Scoring) -> PromptSet | None:
    """Return the registered prompts that a protocol is to ask with, None if with none."""
    preset = PRESETS[scoring.preset].prompts if scoring.preset else ""
    if not scoring.prompts:
        return _packaged_prompts(preset) if preset else None
    if found := PromptSet.objects.filter(slug=scoring.prompts).first():
        return found
    known = ", ".join(PromptSet.objects.values_list("slug", flat=True)) or "none yet"
    raise RegistrationError(f"expected registered prompts ({known}), got {scoring.prompts!r}")


def _packaged_prompts(name: str) -> PromptSet:
    """Return the row of packaged prompts, which is made if nobody has registered them yet."""
    prompts = packaged_prompts(name)
    found = PromptSet.objects.filter(digest=prompts.digest()).first()
    return found or keep_prompts(name, prompts)[0]


def _options(dataset: Dataset, scoring: Scoring) -> list[str]:
    """Return the options of `python -m evaluation protocol`."""
    weights = scoring.weights
    if weights is None and scoring.extractor_name == INCEPTION and settings.INCEPTION_WEIGHTS:
        weights = Path(settings.INCEPTION_WEIGHTS)
    given = {
        "--preset": scoring.preset,
        "--extractor": scoring.extractor,
        "--metrics": ",".join(scoring.metrics),
        "--num-images": scoring.num_images,
        "--labels": scoring.labels,
        "--images-per-prompt": scoring.images_per_prompt,
        "--weights": weights,
        "--classifier-data": scoring.classifier_data,
        "--clip": scoring.clip,
        "--reference": dataset.train_path,
        "--held-out": dataset.test_path,
        "--cache": settings.DATA_DIR / EXTRACTORS,
    }
    return words(given)


def _keep_protocol(
    dataset: Dataset, scoring: Scoring, answer: dict[str, Any]
) -> tuple[Protocol, bool]:
    record, facts = answer["protocol"], answer["facts"]
    # For people alone; the command knows a file's name, and arrays, not the files behind them.
    record["dataset"] = dataset.slug
    for part, lossy in (("reference", dataset.train_lossy), ("held_out", dataset.test_lossy)):
        if lossy and record[part]:
            record[part]["lossy"] = lossy
    weights = Path(answer["weights"]).resolve() if answer["weights"] else None
    found, is_new = Protocol.objects.get_or_create(
        fingerprint=answer["fingerprint"],
        defaults={
            "name": scoring.name,
            "dataset": dataset,
            "prompt_set": _registered_prompts(record),
            "record": record,
            "extractor": record["extractor"]["name"],
            "extractor_weights": "" if weights is None else stored.name_of(weights),
            "facts": facts,
            "num_images": record["num_images"],
        },
    )
    if found.dataset_id != dataset.pk:
        raise RegistrationError(
            f"{dataset.slug}: {found.dataset} has the same images and this protocol already"
        )
    for used in filter(None, (found.extractor_files, found.clip_files)):
        stored.keep(used, StoredFile.Kind.EXTRACTOR)
    if not is_new and "admission" in facts and _says_more(facts["admission"], found):
        found.facts = {**found.facts, **facts}
        found.save()
    return found, is_new


def _registered_prompts(record: Mapping[str, Any]) -> PromptSet | None:
    """Return the set that a record's prompts are; it must be registered."""
    if (asked := record.get("prompts")) is None:
        return None
    if found := PromptSet.objects.filter(digest=asked["digest"]).first():
        return found
    raise RegistrationError(
        f"expected registered prompts, none are {asked['digest'][:12]}: register_prompts registers some"
    )


def _says_more(admission: dict[str, Any], protocol: Protocol) -> bool:
    """Return whether a test replaces what is kept of an earlier one.

    It does if that was by the rules of before or on fewer images, but not to try until one passes.
    """
    kept = protocol.facts.get("admission")
    return kept is None or _place(admission) > _place(kept)


def _place(admission: Mapping[str, Any]) -> tuple[int, int]:
    return admission.get("version", 1), admission["count"]


def admit_protocol(
    protocol: Protocol,
    *,
    classifier_data: Path | None = None,  # of a stacked classifier: what its accuracy is on
    admission_images: int = ADMISSION_IMAGES,
    report: Report | None = None,
) -> dict[str, Any]:
    """Put a registered protocol to the admission test again, and return what it found.

    1. Another process tests the extractor on the dataset, as `register_protocol` does. 2. What it
    found replaces what is kept: its values stay, whether they are ranked may change.

    Raises:
        RegistrationError: if nothing can be scored under the protocol any more, or its files or
            weights are damaged.
    """
    if protocol.extractor == STACKED and classifier_data is None:
        raise RegistrationError(
            f"{protocol.label}: expected the classifier data that it was registered with"
        )
    try:
        protocol.dataset.verify()
    except DamagedError as error:
        raise RegistrationError(str(error)) from error
    given = {
        "--reference": protocol.dataset.train_path,
        "--held-out": protocol.dataset.test_path,
        "--weights": None if classifier_data else protocol.weights_path,
        "--classifier-data": classifier_data,
        "--num-images": admission_images,
        "--cache": settings.DATA_DIR / EXTRACTORS,
    }
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "protocol.json"
        record.write_text(json.dumps(protocol.record), encoding="utf-8")
        found = run_evaluation(
            ["admit", "--protocol", str(record), *words(given)],
            report or silent,
            what=protocol.label,
        )
    protocol.facts = {**protocol.facts, "admission": found}
    protocol.save(update_fields=["facts"])
    return found


@transaction.atomic
def keep_prompts(name: str, prompts: Prompts) -> tuple[PromptSet, bool]:
    """Register prompts under the slug of `name`; return the row, and whether it is new.

    Raises:
        RegistrationError: if the slug or the content is taken, or no slug can be made.
    """
    slug, digest = slug_of(name, "prompt set"), prompts.digest()
    if existing := find_registered(PromptSet, slug, digest):
        return existing, False
    try:
        with transaction.atomic():
            record = prompts.to_record()
            row = PromptSet.objects.create(slug=slug, name=name, record=record, digest=digest)
    except IntegrityError as error:
        raise RegistrationError(f"{slug}: cannot be registered ({error})") from error
    return row, True


def find_registered(kind: type[Row], slug: str, digest: str) -> Row | None:
    """Return what is registered under this slug with this content, None if there is neither.

    Raises:
        RegistrationError: if only one of them is there.
    """
    by_slug = kind._default_manager.filter(slug=slug).first()
    by_content = kind._default_manager.filter(digest=digest).first()
    if by_slug and by_slug.digest != digest:
        raise RegistrationError(
            f"{slug}: registered on {by_slug.created_at:%Y-%m-%d} with other content "
            f"({by_slug.digest[:12]}, not {digest[:12]}); choose another name"
        )
    if by_content and by_content.slug != slug:
        raise RegistrationError(f"{slug}: the same content is registered as {by_content.slug}")
    return by_slug


def _restore_files(dataset: Dataset, prepared: PreparedDataset) -> None:
    """Put back the files of a registered dataset if they are missing or damaged."""
    try:
        dataset.verify()
    except DamagedError as error:
        found = (prepared.train_digest, prepared.test_digest)
        if found != (dataset.train_digest, dataset.test_digest):
            raise RegistrationError(f"{error}; the new files differ too") from error
        _move_into_place(prepared.folder, dataset.folder)
        stored.keep(dataset.folder, StoredFile.Kind.DATASET)


def _move_into_place(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        # Left behind by a process that was killed between the rename and the commit.
        shutil.rmtree(target)
    move_folder(folder, target)
