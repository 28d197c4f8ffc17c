"""How often boards are wrong, as measured on boards of known truth (tests/benchmarks/judgements)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Rates:
    """Shares of boards of eight entries, the worst over four kinds of board."""

    seeds: int  # of each entry; one knows the error of its images
    spread: str  # how seeds differ, and whether all entries' do alike
    boards: int  # of each kind
    wrong_leader: float  # an entry that is truly first is said not to be
    wrong_range: float  # any entry's true rank lies outside its range
    power: float  # twice the distance is told apart, the mean over three kinds of board


@cache
def measured() -> Sequence[Rates]:
    return [Rates(**row) for row in json.loads(FILE.read_text("utf-8"))]
