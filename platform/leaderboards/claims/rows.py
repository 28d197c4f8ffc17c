"""Reads what claims compare from stored rows of boards: as many queries for any number of them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from catalog.models import Protocol
from experiments import controls
from experiments.models import Entry, SampleSet
from generators.specs import registry
from generators.specs.latent import LatentOptions
from jobs.models import Status
from leaderboards.admission_box import admission_of
from leaderboards.board import Cell
from leaderboards.claims.sentences import SENTENCES
from leaderboards.models import Score, Standing
from leaderboards.scores.cells import cells_of

METRICS = frozenset(key for each in SENTENCES for part in each.parts for key in part.metrics)
FIELDS = ("pk", "protocol_id", "entry_id", "sampler_label", "budget", "device", "configuration")
SEEDS = ("seeds_scored", "seeds_failed", "seeds_total")
NO_VALUE = Cell(None)
TRAINED = {"control": "", "is_trial": False, "entry__kind": Entry.Kind.GENERATOR}


@dataclass(frozen=True)
class Contender:
    """One entry with one sampler under a protocol, all of whose seeds have ended."""

    pk: int
    protocol_id: int
    entry_id: int
    sampler_label: str
    budget: str
    device: str  # of its training
    configuration: str
    seeds_scored: int
    seeds_failed: int
    seeds_total: int
    algorithm: str
    samplers: list[dict[str, Any]]
    cells: dict[str, Cell]
    drawn_on: str  # device of its sampling, "" where nobody knows or there were several

    @property
    def nfe(self) -> float:
        """Return how many network evaluations an image takes, -1 where nobody knows."""
        value = self.cells.get("nfe", NO_VALUE).value
        return -1.0 if value is None else value

    @property
    def sides(self) -> frozenset[str]:
        return sides_of(self.algorithm)

    @property
    def sampler(self) -> dict[str, Any]:
        """Return the sampler as it was given, empty where the entry has none of this label."""
        each = (one for one in self.samplers if _label(self.algorithm, one) == self.sampler_label)
        return next(each, {})


@lru_cache(256)
def sides_of(algorithm: str) -> frozenset[str]:
    """Return on which sides of claims an algorithm is."""
    spec = registry.ALGORITHMS.get(algorithm)
    if spec is None:
        return frozenset()
    if spec.family_name != "diffusion":
        return frozenset({spec.family_name})
    return frozenset({"diffusion", "latent" if issubclass(spec.config, LatentOptions) else "pixel"})


def _label(algorithm: str, sampler: dict[str, Any]) -> str:
    return registry.parse_sampler(algorithm, sampler).label()


@dataclass(frozen=True)
class Rows:
    """All that claims compare."""

    boards: dict[int, Protocol]
    contenders: dict[tuple[int, str], list[Contender]]  # by board and budget
    real: dict[tuple[int, str], float]  # real test images' number, by board and metric

    def ranks(self, board: int, metric: str) -> bool:
        """Return whether a board has ranks by a metric, or shows it as a cost."""
        protocol = self.boards[board]
        is_metric = metric in protocol.metrics
        return not is_metric or metric not in admission_of(protocol).unranked


def read() -> Rows:
    """Return the contenders that were trained here, none of whose seeds is still to come.

    Of rows with one configuration under a protocol, the first: repeats are no independent evidence.
    """
    keys = {each.pk: each for each in Protocol.objects.select_related("dataset")}
    cells, drawn = _cells(), _drawn_on()
    found: dict[tuple[int, str], list[Contender]] = defaultdict(list)
    seen: set[tuple[int, str]] = set()
    for values, entry in _standings():
        contender = Contender(
            **values,
            **entry,
            cells=cells.get(values["pk"], {}),
            drawn_on=drawn.get((values["entry_id"], values["sampler_label"]), ""),
        )
        repeat = (contender.protocol_id, contender.configuration)
        if repeat not in seen:
            seen.add(repeat)
            found[contender.protocol_id, contender.budget].append(contender)
    return Rows(keys, found, _real())


def _standings() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the fields of each standing that has ended, and those of its entry."""
    kept = Standing.objects.filter(**TRAINED).order_by("pk")
    rows = kept.values(*FIELDS, *SEEDS, "entry__algorithm", "entry__samplers")
    for row in rows.iterator(chunk_size=2000):
        entry = {name: row.pop(f"entry__{name}") for name in ("algorithm", "samplers")}
        if row["seeds_total"] <= row["seeds_scored"] + row["seeds_failed"]:
            yield row, entry


def _cells() -> dict[int, dict[str, Cell]]:
    kept = Standing.objects.filter(**TRAINED)
    wanted = dict.fromkeys(kept.values_list("pk", flat=True), False)
    scores = Score.objects.filter(metric__in=[*METRICS, "nfe"])
    found: dict[int, dict[str, Cell]] = defaultdict(dict)
    for pk, key, cell in cells_of(scores, wanted, ()):
        found[pk][key] = cell
    return found


def _real() -> dict[tuple[int, str], float]:
    scores = Score.objects.filter(
        standing__control=controls.TEST, metric__in=METRICS, value__isnull=False
    )
    values = scores.order_by("pk").values_list("protocol_id", "metric", "value")
    return {(protocol, metric): float(value or 0.0) for protocol, metric, value in values}


def _drawn_on() -> dict[tuple[int, str], str]:
    """Return on which device rows were sampled, of those sampled on one alone."""
    sets = SampleSet.objects.filter(status=Status.COMPLETED, worker__isnull=False).order_by()
    devices: dict[tuple[int, str], set[str]] = defaultdict(set)
    for entry, label, device in sets.values_list(
        "entry_id", "sampler_label", "worker__device"
    ).distinct():
        devices[entry, label].add(device)
    return {key: min(each) for key, each in devices.items() if len(each) == 1}
