"""A pipeline of diffusers as somebody submits it: it is sampled here and was trained elsewhere.

Its folder is in the site's storage, or it is a hub's at one revision for ever. Nothing of it is
imported here; what it says of itself is read, and what a worker would refuse is refused at its field.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings

from catalog.models import Dataset, Protocol
from experiments.models import Entry
from experiments.submission.guided import one_by_one
from experiments.submission.reading import EntrySpec, Reader
from generators.specs.options import ConfigError, Value, parse, to_dict
from generators.specs.pipelines.card import PipelineCard, PipelineError
from generators.specs.pipelines.options import (
    OWN,
    PipelineConfig,
    PipelineSampler,
    completed,
)
from generators.specs.pipelines.pinned import check_pinned, folder_within, local_folder
from generators.specs.pipelines.reading import inspect

FOLDER = "pipelines"  # of the data folder, whose folders are pipelines
ANYWHERE = "cuda"  # of devices the one that forbids least: which it will be only the worker knows
DRAWN_FROM = ("pipeline", "components", "channels", "height", "width", "num_classes", "timesteps")


def storage() -> Path:
    """Return the folder in which pipelines are kept."""
    return Path(settings.DATA_DIR) / FOLDER


def is_pipeline(entry: object) -> bool:
    """Return whether plain data describes a pipeline, not a training."""
    return isinstance(entry, Mapping) and "pipeline" in entry


def read_pipeline(
    reader: Reader, path: str, entry: Mapping[str, Any], most_samplers: int
) -> EntrySpec | None:
    """Return the entry of a pipeline that plain data describes, None where something is wrong.

    `{"pipeline": a folder of the storage, or a hub id with a "revision" of 40 hex digits, "label",
    "config": {"precision", …}, "samplers": [{"scheduler", "steps", "guidance", …}]}`
    """
    known = {"label", "pipeline", "revision", "config", "samplers"}
    reader.unknown(f"{path}.", entry, known)
    before = len(reader.errors)
    source, revision = entry.get("pipeline"), entry.get("revision") or ""
    card = _read_card(reader, path, source, revision)
    config = _read_config(reader, f"{path}.config", entry.get("config"), card)
    given = entry.get("samplers") or [{}]
    samplers, places = _read_samplers(reader, f"{path}.samplers", given, card, most_samplers)
    label = reader.label(path, entry.get("label"), str(source).rpartition("/")[2] or "?")
    if config is None or len(reader.errors) > before:
        return None
    facts: dict[str, Any] = {"pipeline": source, "revision": revision, **to_dict(config)}
    if card is not None:
        facts["card"] = json.loads(json.dumps(card.as_record()))  # as a row has it
    return EntrySpec(label, "", facts, samplers, places, Entry.Kind.PIPELINE, path)


def _read_card(reader: Reader, path: str, source: object, revision: object) -> PipelineCard | None:
    """Return what a folder is; None where it is wrong, or a hub's that is not here."""
    field = f"{path}.pipeline"
    if not isinstance(source, str) or not isinstance(revision, str):
        reader.wrong(field, f"expected a folder's name or a hub id, got {source!r}"[:300])
        return None
    try:
        folder = folder_of(source, revision)
    except PipelineError as error:
        reader.wrong(f"{path}.revision" if revision else field, str(error))
        return None
    if folder is None:
        return None
    card = inspect(folder, digests=False)
    missing = card.missing_extra()
    for problem in (*card.problems, *([missing] if missing else [])):
        reader.wrong(field, problem.replace(str(folder), source)[:1000])
    return None if card.problems else card


def folder_of(source: str, revision: str) -> Path | None:
    """Return where a pipeline is in the storage; None for a hub's that a worker has to fetch.

    Raises:
        PipelineError: if its name leads elsewhere, or the revision can move.
    """
    if not revision:
        return folder_within(storage(), source)
    check_pinned(source, revision)
    folder = local_folder(source, revision, storage())
    if not folder.is_dir():
        return None
    return folder_within(storage(), folder.relative_to(storage()).as_posix())


def _read_config(
    reader: Reader, path: str, given: object, card: PipelineCard | None
) -> PipelineConfig | None:
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        reader.wrong(path, f"expected field: value pairs, got {given!r}"[:300])
        return None
    try:
        config = parse(PipelineConfig, given)
        if card is not None and (problems := config.problems(card, ANYWHERE)):
            raise ConfigError(problems)
    except ConfigError as error:
        reader.take(path, error)
        return None
    return config


def _read_samplers(
    reader: Reader, path: str, given: object, card: PipelineCard | None, most: int
) -> tuple[list[dict[str, Value]], list[int]]:
    """Return the samplers, with the pipeline's own numbers where these are known, and their places."""
    each = one_by_one(given) if isinstance(given, list) else []
    if not 1 <= len(each) <= most:
        reader.wrong(path, f"expected a list of 1 to {most} samplers")
        return [], []
    found: dict[str, tuple[dict[str, Value], int]] = {}
    for place, sampler in each:
        try:
            whole = _read_sampler(sampler, card)
        except ConfigError as error:
            reader.take(f"{path}.{place}", error)
            continue
        label = label_of(whole, None if card is None else card.as_record())
        if label in found:
            reader.wrong(f"{path}.{place}", f"{label} is there already")
        found[label] = to_dict(whole), place
    return [sampler for sampler, _ in found.values()], [place for _, place in found.values()]


def _read_sampler(given: object, card: PipelineCard | None) -> PipelineSampler:
    """Return a sampler.

    Raises:
        ConfigError: if it is none, or the pipeline cannot be sampled this way.
    """
    if not isinstance(given, Mapping):
        raise ConfigError({"scheduler": f"expected a sampler, got {given!r}"[:300]})
    sampler = parse(PipelineSampler, given)
    return sampler if card is None else completed(sampler, card)


def as_known_now(
    config: Mapping[str, Any], samplers: Sequence[Mapping[str, Value]]
) -> list[dict[str, Value]]:
    """Return an entry's samplers with the pipeline's own numbers, if its folder came since."""
    folder = None if "card" in config else folder_of(config["pipeline"], config["revision"])
    card = None if folder is None else inspect(folder, digests=False)
    return [to_dict(_read_sampler(sampler, card)) for sampler in samplers]


def label_of(sampler: PipelineSampler, card: Mapping[str, Any] | None) -> str:
    """Return a sampler as boards name it, with the scheduler that is the folder's own by its class."""
    own = OWN if card is None else walk_of(card)
    sized = {} if card is None else {"width": card["width"], "height": card["height"]}
    is_own_size = all(getattr(sampler, side) == pixels for side, pixels in sized.items())
    shown = replace(sampler, width=0, height=0) if is_own_size else sampler
    scheduler = own if sampler.scheduler == OWN else sampler.scheduler
    return replace(shown, scheduler=scheduler).label()


BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of a weight


def weight_bytes(config: Mapping[str, Any], card: Mapping[str, Any] | None) -> int:
    """Return the memory that a pipeline's weights take on the device; 0 while nobody read it.

    What is computed with them comes on top. Offloaded whole components take turns there; layer by
    layer next to nothing stays.
    """
    parts = [] if card is None else card["components"]
    sizes = [
        (part["parameters"] or 0) * BYTES[config["precision"]]
        for part in parts
        if part["name"] != "safety_checker" or config["safety_checker"]
    ]
    if config["offload"] == "sequential":
        return 0
    return max(sizes, default=0) if config["offload"] == "model" else sum(sizes)


def walk_of(card: Mapping[str, Any]) -> str:
    """Return what walks from noise to image where nobody chose another: a class, or our sampler."""
    parts = {part["name"]: part["class_name"] for part in card["components"]}
    return str(card.get("walk") or parts.get("scheduler", OWN))  # older cards do not know the first


# --- what does not fit --------------------------------------------------------------------------


def check_fit(
    reader: Reader, path: str, dataset: Dataset, protocols: Sequence[Protocol], entry: EntrySpec
) -> None:
    """Refuse pipelines whose images the protocols cannot score; a hub's that is not here, later."""
    card = entry.config.get("card")
    if card is None:
        return
    has_words = dataset.has_captions or any(protocol.prompt_set for protocol in protocols)
    if problem := misfit(card, dataset, has_words=has_words):
        reader.wrong(f"{path}.pipeline", problem)
    for place, sampler in zip(entry.places, entry.samplers, strict=True):
        for side, problem in too_small(sampler, dataset).items():
            reader.wrong(f"{path}.samplers.{place}.{side}", problem)


def misfit(card: Mapping[str, Any], dataset: Dataset, *, has_words: bool) -> str:
    """Return why a pipeline's images cannot stand beside a dataset's, "" if they can."""
    name, asked = card["pipeline"], card["asked"]
    if card["channels"] != dataset.channels:
        return (
            f"expected images of {dataset.channels} channels as {dataset} has, {name} draws "
            f"{card['channels']}"
        )
    if asked == "classes" and card["num_classes"] != dataset.num_classes:
        return (
            f"expected a pipeline of the {dataset.num_classes:,} classes of {dataset}, this one has "
            f"{card['num_classes']:,}"
        )
    if asked == "text" and not has_words:
        return f"{name} draws what words ask for: expected protocols with prompts, or a dataset with captions"
    return ""


def too_small(sampler: Mapping[str, Value], dataset: Dataset) -> dict[str, str]:
    """Return the sides that are smaller than a dataset's images: larger ones are made smaller."""
    least = dataset.resolution
    return {
        side: f"expected at least {least} pixels, the side of images of {dataset}; got {pixels}"
        for side in ("width", "height")
        if 0 < (pixels := int(sampler[side])) < least
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which facts of a card differ, so that the folder draws other images."""
    return [name for name in DRAWN_FROM if _comparable(before, name) != _comparable(now, name)]


def _comparable(card: Mapping[str, Any], name: str) -> Any:
    if name != "components":
        return card[name]
    return [{**part, "digest": "", "dtypes": list(part["dtypes"])} for part in card[name]]
