"""Measures how often boards are wrong about ranks, and writes down what the page "How we judge" shows.

`python -m tests.benchmarks.judgements.ranks` takes about two minutes of one core.
"""

import json
from pathlib import Path
from typing import Any

from tests.leaderboards.simulation import (
    BEHIND,
    BESIDE,
    EQUAL,
    THREEFOLD,
    TIED,
    TWICE,
    UNEQUAL,
    Spread,
    outcome,
)

RATES = Path(__file__).with_name("error_rates.json")
SEEDS = (1, 2, 3, 5, 10)
SPREADS = {
    "normal, equal": Spread("normal", 0.3, EQUAL),
    "normal, 1 : 2": Spread("normal", 0.2, UNEQUAL),
    "normal, 1 : 3": Spread("normal", 0.14, THREEFOLD),
    "log-normal, equal": Spread("log-normal", 0.1, EQUAL),
    "log-normal, 1 : 2": Spread("log-normal", 0.07, UNEQUAL),
    "log-normal, 1 : 3": Spread("log-normal", 0.05, THREEFOLD),
}
BOARDS = 4000


def measured(spread: Spread, seeds: int, boards: int = BOARDS) -> dict[str, float]:
    """Return the worst error rates over four kinds of board, and the power of three."""
    apart = [outcome(spread, means, seeds, boards=boards) for means in (TWICE, BEHIND, BESIDE)]
    found = [*apart, outcome(spread, TIED, seeds, boards=boards)]
    return {
        "wrong_leader": max(each.wrong_leader for each in found),
        "wrong_range": max(each.wrong_range for each in found),
        "power": sum(each.told_apart for each in apart) / len(apart),
    }


def table() -> list[dict[str, Any]]:
    """Return a row for each number of seeds and spread; one seed has the error of its images."""
    return [
        {"seeds": seeds, "spread": name, "boards": BOARDS, **measured(spread, seeds)}
        for seeds in SEEDS
        for name, spread in SPREADS.items()
        if seeds > 1 or spread.kind == "normal"
    ]


if __name__ == "__main__":
    RATES.write_text(json.dumps(table(), indent=1) + "\n")
