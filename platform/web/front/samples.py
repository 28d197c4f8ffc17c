"""Samples beside boards in a few queries for all of them: real images, then who leads each corner."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Min, Q

from experiments import controls
from experiments.models import Entry, SampleSet
from jobs.models import Status
from leaderboards.highlights import Highlight, Leader

MOST = 4  # pictures of a board
FIRST = 12  # entries of an experiment that are looked at for their families


@dataclass(frozen=True)
class Sheet:
    """The first images of a sample set, with what they are shown for."""

    sample_set: SampleSet
    caption: str  # "real", or whose they are
    family: str


@dataclass(frozen=True)
class Card:
    """A board in one card with some of its samples."""

    highlight: Highlight
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class Shown:
    """An entry whose samples may be shown; of which sampler, "" for any."""

    entry: Entry
    sampler_label: str = ""

    @property
    def caption(self) -> str:
        return "real images" if self.entry.kind == Entry.Kind.CONTROL else self.entry.label


def cards(highlights: Sequence[Highlight]) -> list[Card]:
    """Return the boards with their samples, in the order given."""
    leaders = [_leaders(board.leaders) for board in highlights]
    beside = _beside(each.entry.experiment_id for some in leaders for each in some)
    shown = [_shown(some, beside) for some in leaders]
    sets = _first_sets(each.entry for some in shown for each in some)
    return [
        Card(board, tuple(_sheets(some, sets)))
        for board, some in zip(highlights, shown, strict=True)
    ]


def _leaders(leaders: Iterable[Leader]) -> list[Shown]:
    """Return who leads, each entry once."""
    by_entry: dict[int, Shown] = {}
    for leader in leaders:
        row = leader.row
        by_entry.setdefault(row.entry.pk, Shown(row.entry, row.sampler_label))
    return list(by_entry.values())


def _beside(experiments: Iterable[int]) -> dict[int, list[Entry]]:
    """Return real test images and the first contenders of experiments, trials apart, by their keys."""
    of = set(experiments)
    real = Q(kind=Entry.Kind.CONTROL, config__control=controls.TEST)
    early = Q(position__lt=FIRST) & ~Q(kind=Entry.Kind.CONTROL) & ~Q(trial__gte=1)
    found: dict[int, list[Entry]] = {pk: [] for pk in of}
    for entry in Entry.objects.filter(real | early, experiment__in=of) if of else ():
        found[entry.experiment_id].append(entry)
    return found


def _shown(leaders: Sequence[Shown], beside: dict[int, list[Entry]]) -> list[Shown]:
    """Return real images, who leads, and the first entry of each family that leads nowhere."""
    if not leaders:
        return []
    others = beside[leaders[0].entry.experiment_id]
    by_family = {entry.family: entry for entry in reversed(others)}
    real = by_family.pop(Entry.Kind.CONTROL, None)
    for each in leaders:
        by_family.pop(each.entry.family, None)
    found = [*([Shown(real)] if real else []), *leaders, *map(Shown, by_family.values())]
    return found[:MOST]


def _first_sets(entries: Iterable[Entry]) -> dict[int, dict[str, SampleSet]]:
    """Return the first drawn set of each entry with each of its samplers."""
    drawn = SampleSet.objects.filter(
        entry__in={entry.pk for entry in entries}, status=Status.COMPLETED
    )
    by_sampler = drawn.order_by().values("entry", "sampler_label")
    keys = by_sampler.annotate(first=Min("pk")).values("first")
    found: dict[int, dict[str, SampleSet]] = {}
    for each in SampleSet.objects.filter(pk__in=keys):
        found.setdefault(each.entry_id, {})[each.sampler_label] = each
    return found


def _sheets(shown: Iterable[Shown], sets: dict[int, dict[str, SampleSet]]) -> Iterable[Sheet]:
    for each in shown:
        drawn = sets.get(each.entry.pk, {})
        label = each.sampler_label or next(iter(drawn), "")
        if label in drawn:
            yield Sheet(drawn[label], each.caption, each.entry.family)
