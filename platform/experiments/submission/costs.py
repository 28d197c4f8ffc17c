"""What a submission will cost, estimated from what was trained and drawn on this site before.

An earlier entry tells of a new one if it is of the same algorithm, on images of the same shape, with
the same whole numbers, choices and switches: these make a network and its batches. Rates, weights and
shares do not change what an image costs, but for models with an autoencoder, whose share is a part of
the budget.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.models import Count, Sum, TextField
from django.db.models.functions import Cast

from catalog.models import Dataset
from experiments.models import Entry, Run, SampleSet
from experiments.submission.reading import EntrySpec
from experiments.submission.specification import ExperimentSpec
from generators.specs import registry
from generators.specs.options import ConfigError, parse, to_dict
from jobs.models import Status

LATEST = 200  # earlier entries of an algorithm that are looked at, and draws of them
Place = tuple[str, str]  # host and device
ANYWHERE: Place = ("any device", "")


@dataclass(frozen=True)
class Estimate:
    """Device-seconds that an entry, or several, need on one device for all seeds."""

    host: str
    device: str
    seconds: float  # of training, and of drawing where that is known
    runs: int  # earlier trainings, or draws of what is not trained here, that it rests on
    with_draws: bool

    @property
    def words(self) -> str:
        """Return it in words: `about 14 min on gpu-1 (NVIDIA H100), from 3 runs`."""
        device = f" ({self.device})" if self.device else ""
        rest = f", from {self.runs:,} run{'s' * (self.runs != 1)}" if self.runs else ""
        return f"{about(self.seconds)} on {self.host}{device}{rest}" + (
            "" if self.with_draws else "; drawing samples comes on top, unknown"
        )


@dataclass(frozen=True)
class Cost:
    """What one entry costs on each device that is known; none = unknown."""

    label: str
    estimates: list[Estimate]

    @property
    def words(self) -> str:
        return "; ".join(each.words for each in self.estimates) or "unknown"


def costs_of(spec: ExperimentSpec) -> list[Cost]:
    """Return what each entry costs; scoring is not in it."""
    known = {name: earlier(name, spec.dataset) for name in {e.algorithm for e in spec.entries}}
    return [Cost(e.label, _estimates(spec, e, known[e.algorithm])) for e in spec.entries]


def total_of(costs: Iterable[Cost]) -> Cost:
    """Return what all entries cost together, on devices on which each of them is known."""
    costs = list(costs)
    by_place = [{(e.host, e.device): e for e in cost.estimates} for cost in costs]
    places = {place: None for each in by_place for place in each if place != ANYWHERE}
    found = [
        _sum(place, [each.get(place) or each.get(ANYWHERE) for each in by_place])
        for place in places or ([ANYWHERE] if costs else [])
    ]
    return Cost("all entries", [each for each in found if each is not None])


def _sum(place: Place, parts: list[Estimate | None]) -> Estimate | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Estimate(
        *place,
        seconds=sum(part.seconds for part in known),
        runs=sum(part.runs for part in known),
        with_draws=all(part.with_draws for part in known),
    )


def about(seconds: float) -> str:
    """Return a time to one unit: `about 40 s`, `about 14 min`, `about 3.5 h`, `about 2 days`."""
    for size, unit, digits in ((172_800, "days", 0), (5_400, "h", 1), (90, "min", 0)):
        if seconds >= size:
            whole = {"days": 86_400, "h": 3_600, "min": 60}[unit]
            return f"about {seconds / whole:.{digits}f} {unit}"
    return f"about {max(1, round(seconds))} s"


def earlier(algorithm: str, dataset: Dataset) -> dict[int, Any]:
    """Return the latest entries of an algorithm, or pipelines, on such images: what decides cost."""
    entries = Entry.objects.filter(
        algorithm=algorithm,
        kind=Entry.Kind.GENERATOR if algorithm else Entry.Kind.PIPELINE,
        experiment__dataset__resolution=dataset.resolution,
        experiment__dataset__channels=dataset.channels,
    ).order_by("-pk")
    rows = entries.values_list("pk", Cast("config", TextField()))[:LATEST]
    found = {pk: _deciding_as_written(algorithm, text) for pk, text in rows}
    return {pk: deciding for pk, deciding in found.items() if deciding is not None}


@lru_cache(maxsize=4096)  # a page looks at hundreds, which never change
def _deciding_as_written(algorithm: str, text: str) -> dict[str, Any] | None:
    return deciding(algorithm, json.loads(text))


def deciding(algorithm: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what of a configuration decides the cost of an image, None where it is not read now."""
    if not algorithm:
        return {name: config.get(name) for name in ("pipeline", "revision", "precision", "offload")}
    try:
        parsed = parse(registry.get_spec(algorithm).config, config)
    except ConfigError:
        return None
    values = to_dict(parsed)
    if parsed.has_autoencoder:
        return values
    return {name: value for name, value in values.items() if not isinstance(value, float)}


def _estimates(
    spec: ExperimentSpec, entry: EntrySpec, earlier: Mapping[int, Any]
) -> list[Estimate]:
    wanted = deciding(entry.algorithm, entry.config)
    like = [pk for pk, deciding in earlier.items() if deciding == wanted]
    trained = _training(spec, entry, like) if entry.algorithm else {}
    drawn = _drawing(spec, entry, like)
    places = [place for place in trained if place != ANYWHERE] or drawn or trained
    return [
        _estimate(place, trained.get(place, trained.get(ANYWHERE)), drawn.get(place))
        for place in places
    ]


def _estimate(
    place: Place, trained: tuple[float, int] | None, drawn: tuple[float, int] | None
) -> Estimate:
    seconds = sum(part[0] for part in (trained, drawn) if part)
    runs = trained[1] if trained else drawn[1] if drawn else 0
    return Estimate(*place, seconds=seconds, runs=runs, with_draws=drawn is not None)


def _training(
    spec: ExperimentSpec, entry: EntrySpec, like: list[int]
) -> dict[Place, tuple[float, int]]:
    """Return the seconds that all seeds train on each device, with the runs that tell."""
    if spec.budget_seconds is not None:
        return {ANYWHERE: (spec.budget_seconds * spec.runs_of(entry), 0)}
    images = (spec.budget_images or 0) * spec.runs_of(entry)
    rows = (
        Run.objects.filter(entry__in=like, status=Status.COMPLETED, images_seen__gt=0)
        .values_list("worker__host", "worker__device")
        .annotate(Sum("device_seconds"), Sum("images_seen"), Count("pk"))
        .order_by("worker__host", "worker__device")
    )
    return {
        (host, device): (images * seconds / seen, runs)
        for host, device, seconds, seen, runs in rows
        if seconds and host
    }


def _drawing(
    spec: ExperimentSpec, entry: EntrySpec, like: list[int]
) -> dict[Place, tuple[float, int]]:
    """Return the seconds that all samples take on each device that drew with every sampler."""
    rows = SampleSet.objects.filter(
        entry__in=like, status=Status.COMPLETED, images_per_second__gt=0, worker__isnull=False
    ).order_by("-pk")
    speeds: dict[Place, list[list[float]]] = defaultdict(lambda: [[] for _ in entry.samplers])
    told = rows.values_list("worker__host", "worker__device", "sampler", "images_per_second")
    for host, device, sampler, speed in told[: LATEST * len(entry.samplers)]:
        if speed and sampler in entry.samplers:
            speeds[host, device][entry.samplers.index(sampler)].append(1 / speed)
    images = max(protocol.num_images for protocol in spec.protocols) * spec.runs_of(entry)
    return {
        place: (images * sum(sum(of) / len(of) for of in each), sum(map(len, each)))
        for place, each in speeds.items()
        if all(each)
    }
