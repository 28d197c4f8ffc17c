"""Entries whose options are looked for, written as one: `search: {options: {beta: 0.1..10 log}, …}`.

`{"options": {name: values or a range, see `spaces`}, "objective": a metric of one of the protocols,
"trials": how many, "method": "random" or "tpe", "runs": trainings of each trial (1), "seed": of the choice (0)}`

Each trial is an entry of the experiment, trained with its first seeds. The best by the objective is
run again with seeds that no trial had, under the label of the entry, and that is what boards rank.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from catalog.models import Protocol
from experiments.searches.models import MAX_SEED, Search, laid_out
from experiments.submission import spaces
from experiments.submission.grids import Placed
from experiments.submission.plain import read_number
from experiments.submission.reading import EntrySpec, Reader, SearchSpec
from generators.specs import registry
from generators.specs.options import FieldSpec, describe

FIELDS = ("options", "objective", "trials", "method", "runs", "seed")
LEAST, MOST = 2, 49  # trials: with the entry that is run again as many as an experiment may have
MOST_RUNS = 100


def expanded(reader: Reader, entries: Sequence[Placed]) -> list[Placed]:
    """Return each entry with its place, one that has a search once for each of its trials."""
    return [made for entry in entries for made in _of(reader, entry)]


def _of(reader: Reader, placed: Placed) -> list[Placed]:
    entry = placed.entry
    if not isinstance(entry, Mapping) or entry.get("search") in (None, {}, ""):
        kept = (
            {k: v for k, v in entry.items() if k != "search"}
            if isinstance(entry, Mapping)
            else entry
        )
        return [replace(placed, entry=kept)]
    path, given = f"{placed.path}.search", entry["search"]
    if not isinstance(given, Mapping):
        reader.wrong(path, f"expected what is looked for, with trials, got {given!r}"[:300])
        return []
    if "pipeline" in entry or placed.varied:
        reader.wrong(path, "expected an algorithm without a grid: nothing else is looked for")
        return []
    shared = {name: each for name, each in entry.items() if name != "search"}
    config = shared.get("config") or {}
    if not isinstance(config, Mapping):
        return [replace(placed, entry=shared)]  # which is refused
    spec = _read(reader, path, given, shared)
    if spec is None:
        return []
    for name in spec.options:
        reader.moved[f"{placed.path}.config.{name}"] = f"{path}.options.{name}"
        if name in config:
            reader.wrong(f"{path}.options.{name}", "expected it here or in config, not in both")
    return [
        replace(
            placed,
            entry={**shared, "config": {**config, **chosen}, "label": spec.label},
            varied=f"trial {number}",
            search=spec,
            trial=number,
        )
        for number, chosen in enumerate(
            spaces.trials(spec.options, laid_out(spec.method, spec.trials), spec.seed), start=1
        )
    ]


def _read(
    reader: Reader, path: str, given: Mapping[str, Any], entry: Mapping[str, Any]
) -> SearchSpec | None:
    """Return a search; None, and wrong, where it cannot be read."""
    before = len(reader.errors)
    reader.unknown(f"{path}.", given, FIELDS)
    options = _options(reader, f"{path}.options", given.get("options"), entry.get("algorithm"))
    method = given.get("method") or Search.Method.RANDOM
    if method not in Search.Method.values:
        known = ", ".join(Search.Method.values)
        reader.wrong(f"{path}.method", f"expected one of {known}, got {method!r}"[:300])
    elif method == Search.Method.TPE and not find_spec("optuna"):
        reader.wrong(
            f"{path}.method", "expected random: for tpe the extra `search` is to be installed"
        )
    trials = _whole(reader, f"{path}.trials", given.get("trials"), least=LEAST, most=MOST)
    runs = _whole(reader, f"{path}.runs", given.get("runs", 1), least=1, most=MOST_RUNS)
    seed = _whole(reader, f"{path}.seed", given.get("seed", 0), least=0, most=MAX_SEED)
    different = math.prod(spaces.count_of(space) for space in options.values())
    if options and trials > different:
        message = f"its options have {different:.0f} combinations, expected at most as many trials"
        reader.wrong(f"{path}.trials", message)
    objective = given.get("objective")
    if not isinstance(objective, str) or not objective:
        reader.wrong(f"{path}.objective", "expected a metric of one of the protocols")
    if len(reader.errors) > before:
        return None
    return SearchSpec(
        label=str(entry.get("label") or _default(entry.get("algorithm"))),
        objective=str(objective),
        method=str(method),
        options=options,
        given=dict(given["options"]),
        trials=trials,
        runs=runs,
        seed=seed,
        path=path,
    )


def _default(algorithm: object) -> str:
    spec = registry.ALGORITHMS.get(str(algorithm))
    return spec.label if spec else ""


def _options(
    reader: Reader, path: str, given: object, algorithm: object
) -> dict[str, spaces.Space]:
    if not isinstance(given, Mapping) or not given:
        reader.wrong(path, f"expected option: range pairs, got {given!r}"[:300])
        return {}
    known = _fields(algorithm)
    found = {}
    for name, text in given.items():
        try:
            found[str(name)] = spaces.read_space(text, known.get(str(name)))
        except ValueError as error:
            reader.wrong(f"{path}.{name}", str(error))
    return found


def _fields(algorithm: object) -> dict[str, FieldSpec]:
    spec = registry.ALGORITHMS.get(str(algorithm))
    return {field.name: field for field in describe(spec.config)} if spec else {}


def _whole(reader: Reader, path: str, given: object, *, least: int, most: int) -> int:
    number = read_number(given)
    if isinstance(number, int) and least <= number <= most:
        return number
    reader.wrong(path, f"expected a whole number of {least} to {most:,}, got {given!r}"[:300])
    return least


def as_trial(placed: Placed, spec: EntrySpec) -> EntrySpec:
    return replace(spec, search=placed.search, trial=placed.trial)


def labels(specs: Sequence[EntrySpec]) -> Iterator[tuple[str, str]]:
    """Yield the labels that entries will have with where they were given: the best's among them."""
    for spec in specs:
        yield spec.label, spec.path
        if spec.search is not None and spec.trial == 1:
            yield spec.search.label, spec.path


def measured(
    reader: Reader, specs: list[EntrySpec], protocols: Sequence[Protocol], seeds: Sequence[int]
) -> list[EntrySpec]:
    """Return the entries, searches with the first protocol that measures their objective."""
    return [
        spec
        if spec.search is None
        else replace(spec, search=_measured(reader, spec.search, protocols, seeds))
        for spec in specs
    ]


def _measured(
    reader: Reader, search: SearchSpec, protocols: Sequence[Protocol], seeds: Sequence[int]
) -> SearchSpec:
    known = list(dict.fromkeys(name for each in protocols for name in each.metrics))
    if protocols and search.objective not in known:
        message = f"expected a metric of the protocols ({', '.join(known)})"
        reader.wrong(f"{search.path}.objective", f"{message}, got {search.objective!r}"[:600])
    if seeds and search.runs > len(seeds):
        message = f"expected at most {len(seeds)}, the experiment's seeds, got {search.runs}"
        reader.wrong(f"{search.path}.runs", message)
    having = (each.pk for each in protocols if search.objective in each.metrics)
    return replace(search, protocol=next(having, None))
