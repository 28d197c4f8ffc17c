"""Compares the two sides of a claim on every board and budget that has both.

An entry stands with its sampler of most network evaluations: chosen by cost, never by value. A value
better than real test images' counts as theirs, as boards count it as no merit; an entry that lost
seeds counts as the worst of its board and budget, as boards rank it behind all others.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from catalog.models import Protocol
from leaderboards.board import columns_of
from leaderboards.claims.pooling import (
    Estimated,
    middle,
    minus,
    of_seeds,
    share_lost,
    spread_of,
)
from leaderboards.claims.rows import NO_VALUE, Contender, Rows
from leaderboards.claims.sentences import Part
from leaderboards.origins.budgets import IMAGES

NO_LOGARITHM = "a number of 0 or less has no ratio"


@dataclass(frozen=True)
class Compared:
    """The effect on one board at one budget, between the median entries of two sides."""

    protocol: Protocol
    budget: str  # key
    metric: str
    device: str  # "" where numbers depend on none
    ours: int  # entries
    theirs: int
    lost: int  # of both, entries that count as the worst, for seeds of theirs were lost
    effect: Estimated


def compared(rows: Rows, part: Part) -> Iterator[Compared]:
    """Yield what each board and budget that has entries of both sides says of a part."""
    for (board, budget), contenders in rows.contenders.items():
        metric = next((key for key in part.metrics if _has(rows, board, key, contenders)), None)
        if metric is None or (part.is_of_device == "training" and not budget.startswith(IMAGES)):
            continue  # as many seconds for all: their training costs the same by construction
        for device, mine in _by_device(part, contenders).items():
            ours, theirs = _side(mine, part.ours), _side(mine, part.theirs)
            if not (ours and theirs):
                continue
            scale = _Scale(rows, board, metric, part)
            effect = scale.effect(ours, theirs)
            if effect is not None:
                yield Compared(
                    protocol=rows.boards[board],
                    budget=budget,
                    metric=metric,
                    device=device,
                    ours=len(ours),
                    theirs=len(theirs),
                    lost=sum(scale.is_lost(each) for each in (*ours, *theirs)),
                    effect=effect,
                )


def _has(rows: Rows, board: int, metric: str, contenders: Iterable[Contender]) -> bool:
    return rows.ranks(board, metric) and any(
        each.cells.get(metric, NO_VALUE).value is not None for each in contenders
    )


def _by_device(part: Part, contenders: Sequence[Contender]) -> dict[str, list[Contender]]:
    """Return the contenders by the one device that a cost is of; those of unknown devices in none."""
    if not part.is_of_device:
        return {"": list(contenders)}
    found: dict[str, list[Contender]] = defaultdict(list)
    for each in contenders:
        device = each.drawn_on if part.is_of_device == "sampling" else each.device
        if device and not (part.is_of_device == "training" and ", " in device):
            found[device].append(each)
    return found


def _side(contenders: Iterable[Contender], side: str) -> list[Contender]:
    """Return a side's entries, each with one sampler."""
    if side in ("most", "fewest"):
        return [pair[side == "fewest"] for pair in _pairs(contenders)]
    best: dict[int, Contender] = {}
    for each in contenders:
        if side in each.sides:
            known = best.get(each.entry_id)
            best[each.entry_id] = each if known is None or each.nfe > known.nfe else known
    return list(best.values())


def _pairs(contenders: Iterable[Contender]) -> Iterator[tuple[Contender, Contender]]:
    """Yield each entry with most and with fewest steps of one sampler, all else alike."""
    of_entry: dict[int, list[Contender]] = defaultdict(list)
    for each in contenders:
        of_entry[each.entry_id].append(each)
    for rows in of_entry.values():
        if len(rows) < 2:
            continue
        alike: dict[str, list[tuple[int, Contender]]] = defaultdict(list)
        for each in rows:
            sampler = dict(each.sampler)
            if steps := sampler.pop("steps", None):
                alike[repr(sorted(sampler.items()))].append((int(steps), each))
        for group in alike.values():
            ordered = sorted(group, key=lambda pair: pair[0])
            if ordered[0][0] < ordered[-1][0]:
                yield ordered[-1][1], ordered[0][1]


class _Scale:
    """One number of the entries of one board, on the scale on which sides are compared."""

    def __init__(self, rows: Rows, board: int, metric: str, part: Part) -> None:
        self.metric, self.part = metric, part
        columns = {column.key: column for column in columns_of(rows.boards[board])}
        self.column = columns[metric]
        self.real = rows.real.get((board, metric))

    def effect(self, ours: list[Contender], theirs: list[Contender]) -> Estimated | None:
        """Return ours minus theirs; None where a side has no number."""
        if self.part.of == "failures":
            return minus(*(share_lost(map(_lost, side)) for side in (ours, theirs)))
        found = [list(map(self.number, side)) for side in (ours, theirs)]
        if self.part.of == "value":
            found = self._with_lost(found, (ours, theirs))
        known = [[one for one in side if one is not None] for side in found]
        return minus(*map(middle, known)) if all(known) else None

    def number(self, contender: Contender) -> Estimated | None:
        """Return an entry's number with the error of its seeds."""
        cell = contender.cells.get(self.metric, NO_VALUE)
        if cell.value is None:
            return None
        if self.part.of == "spread":
            return spread_of(cell.seeds)
        value = cell.value
        if self.real is not None and self.column.corner != "cost":
            nearest = min if self.column.higher_is_better else max
            value = nearest(value, self.real)
        return of_seeds(cell.seeds, value, is_ratio=self.part.is_ratio)

    def is_lost(self, contender: Contender) -> bool:
        """Return whether an entry counts as the worst: costs do not depend on who survives."""
        is_of_value = self.part.of == "value" and self.column.corner != "cost"
        lost = contender.cells.get(self.metric, NO_VALUE).seeds_lost
        return is_of_value and bool(lost or contender.seeds_failed)

    def _with_lost(
        self, found: list[list[Estimated | None]], sides: tuple[list[Contender], list[Contender]]
    ) -> list[list[Estimated | None]]:
        """Return the numbers, those of entries with lost seeds as bad as the worst of all."""
        known = [one for side in found for one in side if one is not None]
        if not known:
            return found
        furthest = min if self.column.higher_is_better else max
        worst = furthest(known, key=attrgetter("value"))
        return [
            [worst if self.is_lost(each) else one for each, one in zip(side, numbers, strict=True)]
            for side, numbers in zip(sides, found, strict=True)
        ]


def _lost(contender: Contender) -> tuple[int, int]:
    return contender.seeds_failed, contender.seeds_total
