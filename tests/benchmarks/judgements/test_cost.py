"""What judging a board costs: it may grow no faster than n log n in its rows."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from experiments.models import Entry
from leaderboards.board import Cell, Column, Row
from leaderboards.ranking import judged
from leaderboards.statistics.spread import Seed

COLUMNS = tuple(Column(f"metric {n}", f"M{n}", "", n % 2 == 1, "quality", "") for n in range(15))


def make_rows(count: int) -> list[Row]:
    """Return rows of one to five seeds, with spreads of their own."""
    chance = np.random.default_rng(0)
    entry = Entry(kind=Entry.Kind.GENERATOR)
    return [_row(entry, chance) for _ in range(count)]


def _row(entry: Entry, chance: np.random.Generator) -> Row:
    seeds, spread = int(chance.integers(1, 6)), chance.uniform(0.05, 0.3)
    cells = {}
    for column in COLUMNS:
        centre = float(chance.lognormal(1, 1))
        found = (centre * chance.lognormal(0, spread, seeds)).tolist()
        cells[column.key] = Cell(
            sum(found) / seeds, seeds=tuple(Seed(value, 0.02 * value) for value in found)
        )
    return Row(entry, "direct", seeds, seeds, 0, cells, ())


@pytest.mark.parametrize("count", [1_000, 5_000, 20_000])
def test_judging_a_board(benchmark: BenchmarkFixture, count: int) -> None:
    rows = make_rows(count)

    benchmark.pedantic(judged, args=(rows, COLUMNS), rounds=1)
