"""The first contenders of many experiments by name and family: no entry is made of a row for them."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from experiments.models import Entry, Experiment

MOST = 8  # of an experiment, in the list


class Named(NamedTuple):
    """A contender as a list names it."""

    label: str
    family: str
    family_label: str


def first_contenders(experiments: Iterable[Experiment]) -> dict[int, list[Named]]:
    """Return the first contenders of each experiment in their order, one more than a list shows."""
    place = Window(RowNumber(), partition_by="experiment", order_by=F("position").asc())
    mine = Entry.objects.exclude(kind=Entry.Kind.CONTROL).filter(experiment__in=experiments)
    rows = mine.annotate(place=place).filter(place__lte=MOST + 1).order_by("position")
    family = cache(_family)  # of each kind and algorithm once
    found: dict[int, list[Named]] = defaultdict(list)
    for experiment, kind, algorithm, label in rows.values_list(
        "experiment_id", "kind", "algorithm", "label"
    ):
        found[experiment].append(Named(label, *family(kind, algorithm)))
    return found


def _family(kind: str, algorithm: str) -> tuple[str, str]:
    like = Entry(kind=kind, algorithm=algorithm)
    return like.family, like.family_label
