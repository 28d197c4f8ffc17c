"""The seeds of a row: those of all that it has a value of, or should have had."""

from collections.abc import Iterable, Sequence

from experiments.models import Entry
from experiments.searches.models import fresh


def seeds_told(
    kind: str, seeds: Sequence[int], trial: int | None, runs: int | None, drawn: Iterable[int]
) -> str:
    """Return an entry's seeds with spaces between, as "0 1 2"; "" of a control, which nobody chose.

    `seeds` are its experiment's. Of these a search's trial has as many as the search says `runs`,
    and what it runs again has others. What was handed in has none but the numbers of its sets, `drawn`.
    """
    if kind == Entry.Kind.CONTROL:
        return ""
    if kind == Entry.Kind.EXTERNAL:
        mine: Iterable[int] = sorted(set(drawn))
    elif trial == 0:  # what a search runs again
        mine = fresh([*seeds])
    else:
        mine = seeds[:runs]
    return " ".join(map(str, mine))
