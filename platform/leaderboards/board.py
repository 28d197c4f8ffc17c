"""What a board is made of: columns, rows, and cells, one number each."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from statistics import fmean
from typing import Any, Literal, NamedTuple

from catalog.models import Protocol
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import METRICS
from experiments import controls
from experiments.models import Entry, Experiment, SampleSet
from experiments.searches.models import Search
from leaderboards.origins.budgets import Budget, are_several
from leaderboards.statistics.spread import Seed

Corner = Literal["quality", "coverage", "memorisation", "cost"]
CORNERS: tuple[Corner, ...] = ("quality", "coverage", "memorisation", "cost")  # in a board's order

FEW_NAMES = 3  # of the same rows
MOST_SAME = 20  # rows of a configuration, the first submitted, that are looked at


@dataclass(frozen=True)
class Column:
    """What stands in one column of a board."""

    key: str
    label: str  # "FD[classifier]", never FID for anything else
    unit: str
    higher_is_better: bool
    corner: Corner
    help: str
    headline: bool = True  # shown at first; the others on request
    ideal: float | None = None  # the best value, where that is neither the highest nor the lowest
    minimum: float | None = None  # of the quantity that is estimated, None = unbounded
    maximum: float | None = None
    counts: bool = False  # a number of things, shown whole

    @property
    def arrow(self) -> str:
        if self.ideal is not None:
            return f"→ {self.ideal:g}"
        return "↑" if self.higher_is_better else "↓"

    @property
    def direction(self) -> str:
        """Return in words which values are better."""
        if self.ideal is not None:
            return f"Nearer to {self.ideal:g} is better."
        return "Higher is better." if self.higher_is_better else "Lower is better."


class Cell(NamedTuple):
    """One number: mean over the scored seeds with a 95 % interval; or absent with a reason.

    A tuple, as boards have many, and each is made again with its rank.
    """

    value: float | None  # within the quantity's range, and within its interval
    low: float | None = None
    high: float | None = None
    interval_of: Literal["seeds", "images", ""] = ""  # what the interval is over
    plug_in: float | None = None  # the published, biased estimate, where `value` is corrected
    rank: int | None = None  # one more than the number of values that are better
    rank_low: int | None = None  # the rank is surely no less …
    rank_high: int | None = None  # … and no more; both absent where no error is known
    leads: bool = False  # the rank may be 1
    provisional: bool = False  # seeds are still to come
    no_merit: str = ""  # why a value that is better than the others' is no merit
    beats_control: bool = False  # nearer to the reference than unseen real images are
    near_training: bool = False  # nearer to single training images than unseen real images are
    reason: str = ""  # why the value or the interval is absent
    unknown: bool = False  # a cost that was not measured here and will not be
    declared: float | None = None  # what somebody says that it is: shown, never ranked
    details: tuple[dict[str, Any], ...] = ()  # what else is known, for each seed with a value
    seeds: tuple[Seed, ...] = ()  # those with a value
    seeds_lost: int = 0  # failed, cancelled, or without a finite value

    @property
    def autoencoder_seconds(self) -> float | None:
        """Return how many of a training's device-seconds, the mean, were its autoencoder's."""
        known = [each.get("autoencoder_seconds", math.nan) for each in self.details]
        return None if not known or math.isnan(mean := fmean(known)) else mean

    @property
    def marks(self) -> str:
        """Return the signs that stand beside the number."""
        return "†" * self.beats_control + "‡" * self.near_training + "°" * bool(self.no_merit)

    @property
    def range(self) -> str:
        """Return the rank as people read it: "2", or "1–3" where it may be any of them."""
        if self.rank is None:
            return ""
        if self.rank_low is None or self.rank_low == self.rank_high:
            return f"~{self.rank}" if self.provisional else str(self.rank)
        return f"{self.rank_low}–{self.rank_high}"


class Verdict(NamedTuple):
    """What a board says of a cell beside the others of its column: fields of `Cell`."""

    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    leads: bool = False
    beats_control: bool = False
    near_training: bool = False
    no_merit: str = ""


@dataclass(frozen=True)
class Row:
    """One entry with one sampler."""

    entry: Entry
    sampler_label: str
    seeds_scored: int  # k of "seeds k/n"
    seeds_total: int  # n: every seed that was submitted, failed ones too
    seeds_failed: int  # seeds whose training, sampling or evaluation failed or was cancelled
    cells: dict[str, Cell]
    sample_sets: tuple[SampleSet, ...]
    scored_at: datetime | None = None  # the last time
    scored_by: int | None = None  # key of the evaluation that did
    device: str = ""  # of its trainings, "" if nobody knows
    configuration: str = ""  # digest of all that made its samples but seeds, "" for a control
    of_trial: bool = False  # a control that shows the autoencoder of a search's trial
    same_as: tuple[str, ...] = ()  # rows of the board with its configuration and seeds of its own

    @property
    def budget(self) -> Budget:
        """Return what its trainings might use."""
        return Budget.of(self.entry)

    @property
    def repeated(self) -> str:
        """Return how many others it is the same as; "" where it is like no other."""
        count = len(self.same_as)
        return f"{count} or more" if count >= MOST_SAME - 1 else str(count or "")

    @property
    def repeats(self) -> str:
        """Return the first of the rows that it is the same as, and how many others there are."""
        left = len(self.same_as) - FEW_NAMES
        return "; ".join(self.same_as[:FEW_NAMES]) + (f"; and {left} more" if left > 0 else "")

    @property
    def seeds_pending(self) -> int:
        """Return how many seeds are still to come."""
        return max(0, self.seeds_total - self.seeds_scored - self.seeds_failed)

    @property
    def is_control(self) -> bool:
        return self.entry.kind == Entry.Kind.CONTROL

    @property
    def is_trial(self) -> bool:
        """Whether it is one of many that a search tries, or of its autoencoder: not on all's board."""
        return self.of_trial or bool(self.entry.trial)

    @property
    def chosen_by(self) -> str:
        """Return in words by which search it was chosen or is tried, "" for other rows."""
        search = self.entry.search if self.entry.search_id else None
        return "" if search is None else chosen_by(search, is_trial=self.is_trial)

    @property
    def findings(self) -> list[str]:
        """Return what was found in handed-in sets, each sentence once."""
        return findings_of(self.sample_sets)

    @property
    def kind(self) -> str:
        """Return in words what kind of entry it is: where it was trained and sampled."""
        return self.entry.get_kind_display()

    @property
    def is_real(self) -> bool:
        """Whether it is the control that models are compared with: real test images."""
        return self.control == controls.TEST

    @property
    def is_aside(self) -> bool:
        """Whether it is there for scale alone: a control that is not real test images."""
        return self.is_control and not self.is_real

    @property
    def control(self) -> str:
        """Return which control it is, "" for a contender."""
        return kind_of(self.entry)

    @property
    def is_of_experiment(self) -> bool:
        """Whether it is there once for each experiment, as controls that all have are not."""
        return not self.is_control or self.entry.source is not None

    @property
    def experiment(self) -> Experiment:
        return self.entry.experiment


class Writing(NamedTuple):
    """How far a board is whose rows are being written anew."""

    done: int  # entries
    total: int

    @property
    def left(self) -> int:
        return self.total - self.done


class Beyond(NamedTuple):
    """A row of a board that stands on another page, as its chart knows it."""

    key: int  # of its standing
    entry_id: int
    sampler_label: str
    label: str
    kind: str
    algorithm: str


@dataclass(frozen=True)
class Board:
    """A ranked board of one protocol; `experiment` is None when it holds all experiments."""

    protocol: Protocol
    experiment: Experiment | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sort: str  # key of a column or of a fact, with a leading "-" for the other way round
    unranked: Mapping[str, str] = field(default_factory=dict)  # columns without ranks: why
    judged_at: datetime | None = None  # ranks and marks are of then; None: of now
    waiting: int = 0  # rows that changed since, or were never judged
    writing: Writing | None = None  # other rows are still being written; None: it has all
    begin: int = 0  # rows of the board that stand before these
    beyond: tuple[Beyond, ...] | None = None  # rows right behind these; None: nobody asked
    rows_in_all: int | None = None  # that were asked for, on every page; None: these
    contenders: Mapping[str, int] | None = None  # of those, by their kind; None: of these
    elsewhere: tuple[Row, ...] | None = None  # contenders of other pages; None: they are not read
    budgets: tuple[Budget, ...] = ()  # of all its contenders
    baseline: Row | None = None  # what all rows are compared with, beside their ranks
    as_of: date | None = None  # holds what was measured until the end of this day; None: all
    is_mixed: bool = False  # whether rows of several budgets stand in one order, as was asked for

    @property
    def has_budgets(self) -> bool:
        """Whether entries are ranked apart, each among those of its budget."""
        return are_several(self.budgets)

    @property
    def is_grouped(self) -> bool:
        """Whether rows stand by their budgets."""
        return self.has_budgets and not self.is_mixed

    @property
    def ranked(self) -> list[Column]:
        """Return the columns with ranks."""
        return [column for column in self.columns if column.key not in self.unranked]

    @property
    def why_unranked(self) -> list[str]:
        """Return the reasons for which columns have no ranks, each once."""
        return list(dict.fromkeys(self.unranked.values()))

    @property
    def kinds(self) -> dict[str, int]:
        """Return how many contenders of each kind there are, by the kind in words."""
        found = self.contenders
        if found is None:
            found = Counter(row.entry.kind for row in self.rows if not row.is_control)
        return {str(kind.label): found[kind] for kind in Entry.Kind if kind in found}

    @property
    def sort_key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def ranked_by(self) -> Column:
        """Return the column whose ranks are shown: the sorted one, else the first with ranks."""
        found = [column for column in self.columns if column.key == self.sort_key]
        return next(iter(found or self.ranked or self.columns))

    @property
    def control(self) -> Row | None:
        """Return the row of real test images."""
        return next((row for row in self.rows if row.is_real), None)


COSTS = (
    Column("images_per_second", "Sampling", "images/s", True, "cost", "Images drawn per second."),
    Column("nfe", "NFE", "per image", False, "cost", "Network evaluations per image."),
    Column("parameters", "Parameters", "", False, "cost", "Weights needed to draw samples."),
    Column("device_seconds", "Training", "device-s", False, "cost", "Seconds of device time."),
)


def columns_of(protocol: Protocol) -> tuple[Column, ...]:
    """Return the metric columns of a protocol by their corners, then the costs."""
    order = {name: place for place, name in enumerate(METRICS)}
    names = sorted(protocol.metrics, key=lambda name: (order.get(name, len(order)), name))
    found = sorted(map(protocol.metric, names), key=lambda spec: CORNERS.index(spec.corner))
    metrics = tuple(
        Column(
            key=spec.name,
            label=protocol.label_of(spec),
            unit="",
            higher_is_better=spec.higher_is_better,
            corner=spec.corner,
            help=spec.help,
            headline=spec.headline,
            ideal=spec.ideal,
            minimum=spec.minimum,
            maximum=spec.maximum,
            counts=spec.counts,
        )
        for spec in found
    )
    return (*metrics, *COSTS)


def chosen_by(search: Search, *, is_trial: bool) -> str:
    """Return in words how a search's entry was chosen, or that it is one of those tried."""
    return f"one of {search.trials} trials, not ranked" if is_trial else search.about


def findings_of(sets: Iterable[SampleSet]) -> list[str]:
    """Return what was found in handed-in sets, each sentence once."""
    return list(dict.fromkeys(text for each in sets for text in each.findings))


def kind_of(entry: Entry) -> str:
    """Return which control an entry is, "" for a contender."""
    return entry.control.kind if entry.control else ""


def shown(quantity: Column | MetricSpec, value: float) -> float:
    """Return the number that people are shown: an estimate clipped to its quantity's range.

    A bias-corrected distance of two equal sets may come out below 0.
    """
    low = value if quantity.minimum is None else max(value, quantity.minimum)
    return low if quantity.maximum is None else min(low, quantity.maximum)
