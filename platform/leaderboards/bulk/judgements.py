"""What a board says of the numbers of many rows, as the text that JSON Lines have of it."""

from collections.abc import Iterable, Mapping

from leaderboards.board import Column
from leaderboards.bulk.numbers import Numbers, remarks_of
from leaderboards.formats.rows import as_array, each_once, encoded

PARTS = ("rank", "rank_low", "rank_high", "leads", "provisional", "seeds_lost", "remarks")
LINE = "{" + ", ".join(f'"{part}": %s' for part in PARTS) + "}"


def judgements(numbers: Mapping[str, Numbers], columns: Iterable[Column]) -> list[str]:
    """Return an object for each row: what is said of every number with a value, by columns."""
    found = [_of_column(column.key, numbers[column.key]) for column in columns]
    return ["{" + ", ".join(filter(None, row)) + "}" for row in zip(*found, strict=True)]


def _of_column(key: str, numbers: Numbers) -> list[str]:
    line = f'"{key}": {LINE}'
    told = zip(
        *(as_array(getattr(numbers, part)) for part in PARTS[:-1]), _remarks(numbers), strict=True
    )
    return [
        "" if value is None else line % row for value, row in zip(numbers.value, told, strict=True)
    ]


def _remarks(numbers: Numbers) -> list[str]:
    marks = zip(numbers.beats_control, numbers.near_training, numbers.no_merit, strict=True)
    return each_once(lambda found: encoded(remarks_of(*found)), list(marks))
