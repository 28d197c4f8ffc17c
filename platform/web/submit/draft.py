"""A submission that is being written: plain data as REST takes it, whose values are what was typed.

Fields of the form are named by their paths in that data, `entries.0.config.beta`, so that what is
wrong with the data stands at its field.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml
from django.http import QueryDict

from catalog.names import UNREADABLE
from experiments.submission import offered
from experiments.submission.grids import is_several
from experiments.submission.guided import GUIDANCE
from experiments.submission.plain import PlainDataError, read_number, read_yaml
from experiments.submission.specification import MAX_ENTRIES, MAX_SAMPLERS
from experiments.submission.typed import read_seeds
from experiments.tags.words import typed_words
from generators.specs.options import FieldSpec, Value, describe

Data = dict[str, Any]
ENTRY = re.compile(r"entries\.(\d{1,3})\.(label|algorithm|preset|pipeline|revision)")
OPTION = re.compile(r"entries\.(\d{1,3})\.config\.(\w{1,60})")
SEARCH = re.compile(r"entries\.(\d{1,3})\.search\.(trials|objective|method|runs|seed)")
SAMPLER = re.compile(r"entries\.(\d{1,3})\.samplers\.(\d{1,3})\.(\w{1,60})")
SHARED = ("experiment", "name", "dataset", "seeds", "memory_gb", "tags", "notify", "unit", "amount")
UNITS = {"images": "images seen", "device_seconds": "device-seconds"}


def typed(given: QueryDict) -> Data:
    """Return the draft that a form sent: its texts, by entry and sampler."""
    given = _readable(given)
    draft: Data = {name: given.get(name, "") for name in SHARED}
    draft |= {"protocols": given.getlist("protocols"), "entries": []}
    entries: dict[int, Data] = {}
    for key, text in given.items():
        text = str(text).strip()
        if found := ENTRY.fullmatch(key):
            _entry(entries, found[1])[found[2]] = text
        elif found := OPTION.fullmatch(key):
            _entry(entries, found[1])["config"][found[2]] = text
        elif found := SEARCH.fullmatch(key):
            _entry(entries, found[1])["search"][found[2]] = text
        elif found := SAMPLER.fullmatch(key):
            row = _entry(entries, found[1])["rows"].setdefault(int(found[2]), {})
            row[found[3]] = text
    for _, entry in sorted(entries.items())[:MAX_ENTRIES]:
        rows = entry.pop("rows")
        entry["samplers"] = [rows[place] for place in sorted(rows)][:MAX_SAMPLERS]
        if offered.is_offered(entry.get("algorithm")):
            draft["entries"].append(entry)
    return draft


def _readable(given: QueryDict) -> QueryDict:
    """Return what a form sent with U+FFFD for each NUL, as Django has it for what is no UTF-8.

    PostgreSQL neither keeps a NUL nor looks for one.
    """
    found = given.copy()
    for name, texts in given.lists():
        found.setlist(name, [str(text).replace("\0", UNREADABLE) for text in texts])
    return found


def _entry(entries: dict[int, Data], place: str) -> Data:
    return entries.setdefault(int(place), {"config": {}, "search": {}, "rows": {}})


def to_data(draft: Mapping[str, Any]) -> Data:
    """Return the submission that a draft stands for: what was left empty is left out.

    What joins an experiment has the experiment's dataset, protocols, budget and seeds.
    """
    entries = [_entry_data(entry) for entry in draft["entries"]]
    if draft["experiment"]:
        return {"experiment": draft["experiment"], "entries": entries}
    data: Data = {
        "name": draft["name"],
        "dataset": draft["dataset"],
        "protocols": draft["protocols"],
        "budget": {draft["unit"]: _number(draft["amount"])},
        "seeds": read_seeds(draft["seeds"]) if draft["seeds"] else "",
        "entries": entries,
    }
    if entries and all("pipeline" in entry for entry in entries):
        del data["budget"]
    if words := typed_words(draft["tags"]):
        data["tags"] = words
    for name in ("memory_gb", "notify"):
        if draft[name] not in ("", "0"):
            data[name] = _plain(draft[name])
    return data


def _entry_data(entry: Mapping[str, Any]) -> Data:
    offer = offered.find(entry["algorithm"])
    is_pipeline = offer.name == offered.NAME
    named = ("pipeline", "revision") if is_pipeline else ("algorithm", "preset")
    data: Data = {"pipeline": ""} if is_pipeline else {}
    data |= {name: entry[name] for name in (*named, "label") if entry.get(name)}
    config, grid = {}, {}
    specs = {spec.name: spec for spec in describe(offer.config)}
    for name, text in entry["config"].items():
        if text == "":
            continue
        spec = specs.get(name)
        if spec is not None and spec.type in ("int", "float") and is_several(text):
            grid[name] = _several(text)
        else:
            config[name] = _value(spec, text)
    samplers = [_sampler_data(offer, sampler) for sampler in entry["samplers"]]
    search = _search_data(entry.get("search", {}), grid)
    parts: Data = {"config": config, "grid": {} if search else grid, "search": search}
    parts["samplers"] = samplers
    return data | {name: part for name, part in parts.items() if part}


def _search_data(typed: Mapping[str, str], grid: Data) -> Data:
    """Return the search over what would be a grid; {} where no trials are asked for."""
    if not typed.get("trials"):
        return {}
    names = ("trials", "runs", "seed")
    found = {name: _number(typed[name]) for name in names if typed.get(name)}
    if typed.get("method"):
        found["method"] = typed["method"]
    return {"options": grid, "objective": typed.get("objective", ""), **found}


def _several(text: str) -> Any:
    """Return a list of numbers as one; a range, and what is no list of numbers, as it was typed."""
    words = [read_number(word.strip()) for word in text.strip(" ,").split(",")]
    return text if None in words else words


def _sampler_data(offer: offered.Offer, sampler: Mapping[str, str]) -> Data:
    name = sampler.get("name") or next(iter(offer.samplers))
    config = offer.samplers.get(name)
    specs = {spec.name: spec for spec in describe(config)} if config else {}
    data: Data = {} if offer.name == offered.NAME else {"name": name}
    for key, text in sampler.items():
        if key == "name" or text == "" or (specs and key not in specs):
            continue  # a field of the sampler that was chosen before
        several = key == GUIDANCE and "," in text
        data[key] = _several(text) if several else _value(specs.get(key), text)
    return data


def _value(spec: FieldSpec | None, text: str) -> Value:
    """Return a text as the field's type where it is one; else the text, which is refused."""
    return text if spec is None or spec.type == "str" else _plain(text)


def _plain(text: str) -> Value:
    return {"true": True, "false": False}.get(text, _number(text))


def _number(text: str) -> int | float | str:
    number = read_number(text)
    return text if number is None else number


def as_yaml(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=96)


def read_text(text: str) -> Data:
    """Return the submission that YAML or JSON in an address describes.

    Raises:
        ValueError: if it is no mapping, or holds what cannot be kept.
    """
    try:
        data = read_yaml(text)
    except (yaml.YAMLError, TypeError, PlainDataError) as error:
        raise ValueError(f"expected YAML or JSON: {error}"[:300]) from error
    if not isinstance(data, dict):
        raise ValueError("expected a submission: field: value pairs")
    return data
