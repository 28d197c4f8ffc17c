"""Lists as flat rows: each from one query in chunks, so that memory does not grow with them.

What is written meanwhile changes none of them: a query sees the database as it was when it began.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from django.db.models import QuerySet

from experiments.models import Entry
from generators.specs import registry
from leaderboards.formats.rows import Field, Kind

CHUNK = 2000  # rows in memory at a time
Record = dict[str, Any]  # a row of the query by paths, and what was added to it
Records = list[Record]


@dataclass(frozen=True)
class Column:
    """A column of an export: a path of the query, or what follows from a record."""

    name: str
    kind: Kind = "text"
    path: str = ""  # by default the name
    of: Callable[[Record], Any] | None = None


def unchanged(records: Records) -> Records:
    return records


@dataclass(frozen=True)
class Table:
    """The columns of a list, and how records become complete: those that no query joins."""

    name: str  # of the file
    columns: tuple[Column, ...]
    also: tuple[str, ...] = ()  # paths from which columns follow
    then_by: tuple[str, ...] = ()  # the order of the rows that one row of the list has
    complete: Callable[[Records], Records] = unchanged

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(column.name, column.kind) for column in self.columns)

    def chunks(self, found: QuerySet[Any]) -> Iterator[Records]:
        """Yield the rows of a list in its order, by the names of the columns."""
        plan = [(c.name, c.path or c.name, c.of) for c in self.columns]
        paths = {path for _, path, of in plan if of is None} | set(self.also)
        ordered = found.prefetch_related(None).order_by(*found.query.order_by, *self.then_by)
        records = ordered.values(*sorted(paths)).iterator(chunk_size=CHUNK)
        while chunk := list(islice(records, CHUNK)):
            yield [
                {name: of(record) if of else record[path] for name, path, of in plan}
                for record in self.complete(chunk)
            ]


def of_entry(entry: str) -> tuple[Column, ...]:
    """Return the columns that say what a row is of; `entry` is the path of its entry."""
    experiment = f"{entry}__experiment"
    return (
        Column("experiment", "whole", f"{experiment}_id"),
        Column("experiment_name", path=f"{experiment}__name"),
        Column("dataset", path=f"{experiment}__dataset__slug"),
        Column("dataset_digest", path=f"{experiment}__dataset__digest"),
        Column("entry", "whole", f"{entry}_id"),
        Column("label", path=f"{entry}__label"),
        Column("kind", path=f"{entry}__kind"),
        Column("family", of=lambda record: _family(record, entry)),
        Column("algorithm", path=f"{entry}__algorithm"),
    )


def _family(record: Record, entry: str) -> str:
    algorithm = record[f"{entry}__algorithm"]
    return _family_of(record[f"{entry}__kind"], algorithm, algorithm in registry.ALGORITHMS)


@lru_cache(maxsize=1000)
def _family_of(kind: str, algorithm: str, is_installed: bool) -> str:
    """Return an entry's family; kept, as making a row of the model takes longer than reading one."""
    return Entry(kind=kind, algorithm=algorithm).family


JOB = (
    Column("status"),
    Column("reason"),
    Column("cause"),
    Column("queue"),
    Column("worker", path="worker__name"),
    Column("attempt", "whole"),
    Column("restarts", "whole"),
    Column("queued_at", "time"),
    Column("started_at", "time"),
    Column("finished_at", "time"),
    Column("duration_seconds", "number", of=lambda r: seconds(r["started_at"], r["finished_at"])),
)


def seconds(begin: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two times, None where one is not known."""
    return None if begin is None or end is None else (end - begin).total_seconds()
