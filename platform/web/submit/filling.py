"""Drafts to begin with: of a dataset, of an experiment that is there, or of what an address says.

`/submit/experiment/` takes

- `from=12`: all that experiment 12 was submitted with, under another name;
- `spec=…`: a whole submission as YAML or JSON, as REST takes it;
- `dataset=`, `protocol=` (several; a fingerprint, its beginning or a name), `entry=algorithm:preset`
  (several; the preset may be left out), `sampler=ddim steps=5` (several; of every entry that has a
  sampler of that name), `images=` or `device_seconds=`, `seeds=`, `name=`;
- `experiment=12`: the experiment that pipelines join.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.http import QueryDict

from catalog.admission import images_to_rank, verdict_of
from catalog.models import Dataset, Protocol
from experiments.models import Experiment
from experiments.submission import offered
from experiments.submission.record import record_of
from experiments.submission.specification import MAX_ENTRIES, MAX_SAMPLERS, find_protocols
from generators.specs import registry
from generators.specs.algorithms import PRESETS
from generators.specs.options import describe
from web.submit.draft import Data, read_text

FEW_IMAGES = 25_000  # minutes of a processor for tiny presets
SEEDS = "1"
SEARCH = ("trials", "objective", "method", "runs", "seed")  # fields of a search


def begun(query: QueryDict) -> Data:
    """Return the draft that an address asks for.

    Raises:
        ValueError: if it names an experiment that cannot be cloned, or a submission that is none.
    """
    if spec := query.get("spec"):
        return draft_of(read_text(spec))
    if number := query.get("from"):
        return cloned(_experiment(number))
    return _chosen(query)


def _experiment(number: str) -> Experiment:
    short = number.isdecimal() and len(number) <= 18
    found = Experiment.objects.filter(pk=int(number)).first() if short else None
    if found is None:
        raise ValueError(f"expected the number of an experiment, got {number!r}"[:300])
    return found


def cloned(experiment: Experiment) -> Data:
    """Return the draft of what submits an experiment again, under a name that is not taken.

    Raises:
        ValueError: if nothing is trained or drawn in it.
    """
    record = record_of(experiment)
    taken = set(
        Experiment.objects.filter(name__startswith=record["name"][:150]).values_list("name")
    )
    number = 2
    while ((name := f"{record['name'][:190]} ({number})"),) in taken:
        number += 1
    return draft_of({**record, "name": name})


def _chosen(query: QueryDict) -> Data:
    dataset = _dataset(query.get("dataset"))
    joined = query.get("experiment", "")
    firsts = [specs[0].name for _, specs in offered.by_family()]
    algorithms = query.getlist("entry")[:MAX_ENTRIES] or [
        name for name in firsts if (name == offered.NAME) == bool(joined)
    ]
    draft = draft_of(
        {
            "experiment": joined,
            "name": query.get("name", ""),
            "dataset": dataset.slug if dataset else "",
            "protocols": query.getlist("protocol") or ticked(dataset),
            "budget": _budget(query),
            "seeds": query.get("seeds", SEEDS),
            "entries": [],
        }
    )
    for text in algorithms:
        name, _, preset = text.partition(":")
        if offered.is_offered(name):
            entry = new_entry(name, draft["entries"], preset=preset)
            rows = list(_samplers(offered.find(name), query.getlist("sampler")[:MAX_SAMPLERS]))
            draft["entries"].append({**entry, "samplers": rows or entry["samplers"]})
    return draft


def _samplers(offer: offered.Offer, lines: Sequence[str]) -> Iterator[Data]:
    """Yield `ddim steps=5` as the row of a sampler, where the offer has one of that name."""
    for line in lines:
        name, *options = line.split() or [""]
        if name in offer.samplers:
            yield {
                "name": name,
                **dict(option.split("=", 1) for option in options if "=" in option),
            }


def _dataset(slug: str | None) -> Dataset | None:
    """Return the dataset of a slug, else the newest with a protocol that can be used."""
    if slug and (found := Dataset.objects.filter(slug=slug).first()):
        return found
    newest = Protocol.objects.select_related("dataset").order_by("-pk")[:20]
    usable = (protocol.dataset for protocol in newest if not problem_of(protocol))
    return next(usable, Dataset.objects.order_by("-pk").first())


def _budget(query: QueryDict) -> Data:
    if seconds := query.get("device_seconds"):
        return {"device_seconds": seconds}
    return {"images": query.get("images", str(FEW_IMAGES))}


def ticked(dataset: Dataset | None) -> list[str]:
    """Return the newest protocol of a dataset that can be used, a failed test aside."""
    if dataset is None:
        return []
    usable = (p for p in dataset.protocols.order_by("-pk") if not problem_of(p))
    return [protocol.fingerprint for protocol in usable][:1]


def ticked_again(slug: str, before: Sequence[str]) -> list[str]:
    """Return what stays ticked of protocols when the dataset is chosen anew, else its newest."""
    dataset = Dataset.objects.filter(slug=slug).first()
    own = Protocol.objects.filter(dataset=dataset, fingerprint__in=before)
    kept = {protocol.fingerprint for protocol in own}
    return [text for text in before if text in kept] or ticked(dataset)


def problem_of(protocol: Protocol) -> str:
    """Return why a protocol is not ticked from the beginning, "" if it may be."""
    if protocol.refusal:
        return protocol.refusal
    found = verdict_of(protocol)
    if found.word != "failed":
        return ""
    passed = len(found.unranked) < len(protocol.metrics) or images_to_rank(protocol)
    return ("no ranks: " if passed else "its test failed: ") + "; ".join(found.reasons)


def new_entry(
    algorithm: str, others: Sequence[Mapping[str, Any]] = (), *, preset: str = ""
) -> Data:
    """Return an entry of an algorithm's smallest preset, under a label that is not taken."""
    offer = offered.find(algorithm)
    labels = {other.get("label") for other in others}
    label, number = offer.label, 1
    while label in labels:
        number += 1
        label = f"{offer.label} {number}"
    smallest = next((name for name in PRESETS if name in offer.presets), "")
    preset = preset if preset in offer.presets else smallest
    entry = {"algorithm": algorithm, "label": label, "preset": preset, "config": {}}
    return {**entry, "samplers": [new_sampler(offer)]}


def new_sampler(offer: offered.Offer, name: str = "") -> Data:
    return {"name": name if name in offer.samplers else _default_sampler(offer)}


def _default_sampler(offer: offered.Offer) -> str:
    known = offer.default_sampler in offer.samplers
    return offer.default_sampler if known else next(iter(offer.samplers))


def draft_of(data: Mapping[str, Any]) -> Data:
    """Return the draft of a submission.

    Raises:
        ValueError: if it has an entry that no form can show.
    """
    unit, amount = _unit_of(data.get("budget"))
    dataset = Dataset.objects.filter(slug=_text(data.get("dataset"))).first()
    entries, protocols = data.get("entries", []), data.get("protocols")
    return {
        "experiment": _joined(_text(data.get("experiment"))),
        "name": _text(data.get("name")),
        "dataset": _text(data.get("dataset")),
        "protocols": _fingerprints(protocols if isinstance(protocols, list) else [], dataset),
        "unit": unit,
        "amount": amount,
        "seeds": _seeds(data.get("seeds", SEEDS)),
        "memory_gb": _text(data.get("memory_gb", "")),
        "tags": _tags(data.get("tags")),
        "notify": _text(data.get("notify", "")),
        "entries": _entries(entries if isinstance(entries, list) else [entries]),
    }


def _joined(text: str) -> str:
    """Return the number of an experiment that is named; what names none stays, to be refused."""
    found = Experiment.objects.filter(name=text).first() if text else None
    return str(found.pk) if found else text


def _tags(given: Any) -> str:
    return ", ".join(map(_text, given)) if isinstance(given, list) else _text(given)


def _seeds(given: Any) -> str:
    """Return seeds as they are typed: how many there are, where they are the first."""
    is_count = isinstance(given, list) and given == list(range(len(given)))
    return str(len(given)) if is_count else _text(given)


def _unit_of(budget: Any) -> tuple[str, str]:
    if isinstance(budget, Mapping) and len(budget) == 1:
        ((unit, amount),) = budget.items()
        if unit in ("images", "device_seconds"):
            return unit, _text(amount)
    return "images", str(FEW_IMAGES)


def _fingerprints(named: Sequence[Any], dataset: Dataset | None) -> list[str]:
    """Return the whole fingerprints; what names no protocol stays, to be refused."""
    found = []
    for text in named[:MAX_ENTRIES]:
        matches = find_protocols(text, dataset)
        found.append(matches[0].fingerprint if len(matches) == 1 else _text(text))
    return found


def _entries(given: Sequence[Any]) -> list[Data]:
    read = [_entry_of(entry) if isinstance(entry, Mapping) else None for entry in given]
    if None in read or len(given) > MAX_ENTRIES:
        known = f"of algorithms that are installed here, or pipelines, at most {MAX_ENTRIES}"
        raise ValueError(f"expected entries {known}")
    return [draft for draft in read if draft]


def _entry_of(entry: Mapping[str, Any]) -> Data | None:
    """Return an entry as it is typed: the nearest preset, and what differs from it."""
    name = offered.NAME if "pipeline" in entry else _text(entry.get("algorithm"))
    if not offered.is_offered(name):
        return None
    config, grid = ({**_mapping(entry.get(part))} for part in ("config", "grid"))
    search = _mapping(entry.get("search"))
    grid |= _mapping(search.get("options"))
    preset = _text(entry.get("preset"))
    if not preset and name != offered.NAME:
        preset, config = _nearest(name, {**config, **grid})
    elif name == offered.NAME:
        config = _differing(config, offered.values(name, ""))
    samplers = entry.get("samplers")
    rows = samplers[:MAX_SAMPLERS] if isinstance(samplers, list) else []
    offer = offered.find(name)
    return {
        "algorithm": name,
        "label": _text(entry.get("label")) or offer.label,
        "preset": preset,
        "pipeline": _text(entry.get("pipeline")),
        "revision": _text(entry.get("revision")),
        "config": {key: _text(value) for key, value in {**config, **grid}.items()},
        "search": {name: _text(search.get(name)) for name in SEARCH},
        "samplers": [_row(offer, _mapping(each)) for each in rows] or [new_sampler(offer)],
    }


def _nearest(algorithm: str, config: Mapping[str, Any]) -> tuple[str, Data]:
    """Return the preset from which fewest fields differ, and these; "" is the defaults."""
    presets = registry.get_spec(algorithm).presets
    names = ["", *(name for name in presets if presets[name].config.keys() <= config.keys())]
    found = {name: _differing(config, offered.values(algorithm, name)) for name in names}
    best = min(names, key=lambda name: len(found[name]))
    return best, found[best]


def _differing(values: Mapping[str, Any], base: Mapping[str, Any]) -> Data:
    return {name: value for name, value in values.items() if base.get(name) != value}


def _row(offer: offered.Offer, sampler: Mapping[str, Any]) -> Data:
    name = new_sampler(offer, _text(sampler.get("name")))["name"]
    defaults = {spec.name: spec.default for spec in describe(offer.samplers[name])}
    fields = {key: value for key, value in sampler.items() if key != "name"}
    return {"name": name, **{key: _text(v) for key, v in _differing(fields, defaults).items()}}


def _mapping(part: Any) -> Mapping[str, Any]:
    return part if isinstance(part, Mapping) else {}


def _text(value: Any) -> str:
    """Return a value as it is typed: lists with commas, true and false in small letters."""
    if isinstance(value, list):
        return ", ".join(map(_text, value)) + "," * (len(value) == 1)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
