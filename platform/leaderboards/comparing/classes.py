"""How the samples of the compared entries spread over classes, beside the real images.

Classes are those that the protocol's features predict, for real images too; what an evaluation has
counted stands in the details of the divergence between the two.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from catalog.models import Protocol
from evaluation.protocols.extractors import EXTRACTORS
from experiments.models import MetricValue
from jobs.models import Status
from leaderboards.comparing.sides import Comparison, Side
from leaderboards.comparing.values import Table

COUNTED_BY = "class_kl"  # the metric whose details have the counts
MOST = 20  # classes that are shown: of more, those that differ most


@dataclass(frozen=True)
class Histogram:
    """The share of each class among a side's samples, the mean over its seeds."""

    side: Side
    shares: tuple[float, ...]  # of the classes that are shown
    seeds: int


@dataclass(frozen=True)
class Classes:
    """Histograms of the sides that a protocol has scored."""

    protocol: Protocol
    names: tuple[str, ...]  # of the classes that are shown
    real: tuple[float, ...]  # their shares among the reference images
    histograms: tuple[Histogram, ...]
    missing: tuple[Side, ...]  # scored, and their counts were not kept
    total: int  # classes in all

    @property
    def largest(self) -> float:
        """Return the largest share of all."""
        shares = [share for each in self.histograms for share in each.shares]
        return max([*self.real, *shares], default=0.0)

    @property
    def rows(self) -> list[tuple[str, float, list[float]]]:
        """Return each class with its real share and that of each side."""
        columns = zip(*(each.shares for each in self.histograms), strict=True)
        return [
            (name, real, list(shares))
            for name, real, shares in zip(self.names, self.real, columns, strict=True)
        ]


def classes(
    comparison: Comparison, found: Sequence[Table], *, most: int | None = MOST
) -> list[Classes]:
    """Return the histograms under each protocol that counts classes, None = of all; one query."""
    counting = [table for table in found if COUNTED_BY in table.protocol.metrics]
    counts = _counts(comparison, counting)
    made = [_classes(table, counts[table.protocol.pk], most) for table in counting]
    return [each for each in made if each is not None]


Counts = dict[int, dict[str, Any]]  # by sample set: "generated" and "reference", a number a class


def _counts(comparison: Comparison, counting: Sequence[Table]) -> dict[int, Counts]:
    found: dict[int, Counts] = defaultdict(dict)
    values = MetricValue.objects.filter(
        metric=COUNTED_BY,
        evaluation__protocol__in=[table.protocol.pk for table in counting],
        evaluation__sample_set__in=[s.pk for side in comparison.sides for s in side.sets],
        evaluation__status=Status.COMPLETED,
    ).values_list("evaluation__protocol", "evaluation__sample_set", "details")
    for protocol, drawn, details in values:
        if details.get("generated") and details.get("reference"):
            found[protocol][drawn] = details
    return found


def _classes(table: Table, counts: Counts, most: int | None) -> Classes | None:
    """Return a protocol's histograms; None where no evaluation has kept what they need."""
    of_sides = {
        side.key: [counts[each.pk] for each in side.sets if each.pk in counts]
        for side in table.sides
    }
    known = [each for found in of_sides.values() for each in found]
    if not known:
        return None
    real = _shares(known[0]["reference"])
    means = {
        side.key: [fmean(each) for each in zip(*map(_generated, of_sides[side.key]), strict=True)]
        for side in table.sides
        if of_sides[side.key]
    }
    shown = _shown(real, list(means.values()), most)
    return Classes(
        protocol=table.protocol,
        names=tuple(_name(table.protocol, each) for each in shown),
        real=tuple(real[each] for each in shown),
        histograms=tuple(
            Histogram(side, tuple(means[side.key][each] for each in shown), len(of_sides[side.key]))
            for side in table.sides
            if side.key in means
        ),
        missing=tuple(side for side in table.sides if side.key not in means),
        total=len(real),
    )


def _generated(counts: dict[str, Any]) -> list[float]:
    return _shares(counts["generated"])


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / sum(counts) for count in counts]


def _shown(real: list[float], others: list[list[float]], most: int | None) -> list[int]:
    """Return which classes are shown, in their order: of many, those that differ most."""

    def apart(place: int) -> float:
        return max(abs(shares[place] - real[place]) for shares in others)

    return sorted(sorted(range(len(real)), key=apart, reverse=True)[:most])


def _name(protocol: Protocol, number: int) -> str:
    """Return a class by its name where the features predict the dataset's, else by its number."""
    names = protocol.dataset.classes if predicts_own_classes(protocol) else []
    return str(names[number]) if number < len(names) else f"class {number}"


def predicts_own_classes(protocol: Protocol) -> bool:
    """Whether a protocol's features predict the classes of its dataset."""
    spec = EXTRACTORS.get(protocol.extractor)  # None where its package is gone
    return spec is not None and spec.predicts == "dataset classes"
