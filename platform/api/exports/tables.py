"""Lists as flat rows: each from one query in chunks, so that memory does not grow with them.

What is written meanwhile changes none of them: a query sees the database as it was when it began.
Rows are held by columns, and data and times come as the database has them: to make a dict of every
row, and objects of all that is in it, takes three times as long as to read it.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from django.db.models import ExpressionWrapper, F, QuerySet, TextField

from experiments.models import Entry
from generators.specs import registry
from leaderboards.formats.rows import Columns, Field, Kind, each_once, encoded, time_text

CHUNK = 2000  # rows in memory at a time
KNOWN = 2000  # texts of data that are kept as they are written: seeds of an entry have the same
Found = Mapping[str, Sequence[Any]]  # columns of the query by paths, and what was added to them


@dataclass(frozen=True)
class Column:
    """A column of an export: a path of the query, or what follows from others."""

    name: str
    kind: Kind = "text"
    path: str = ""  # by default the name
    of: Callable[[Found], Sequence[Any]] | None = None


def added(name: str, kind: Kind = "text") -> Column:
    """Return a column that `complete` adds."""
    return Column(name, kind, of=lambda found: found[name])


def unchanged(found: Found) -> Found:
    return found


@dataclass(frozen=True)
class Table:
    """The columns of a list, and how they become complete: those that no query joins."""

    name: str  # of the file
    columns: tuple[Column, ...]
    also: tuple[str, ...] = ()  # paths from which columns follow
    also_data: tuple[str, ...] = ()  # those of JSON, found as text
    then_by: tuple[str, ...] = ()  # the order of the rows that one row of the list has
    complete: Callable[[Found], Found] = unchanged

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(column.name, column.kind) for column in self.columns)

    def chunks(self, found: QuerySet[Any]) -> Iterator[Columns]:
        """Yield the rows of a list in its order, by columns."""
        kinds = self._kinds()
        ordered = found.prefetch_related(None).order_by(*found.query.order_by, *self.then_by)
        told = [path for path, kind in kinds.items() if kind in READ]
        stored = {*told, *self.also_data}
        asked = [AsStored(F(p), output_field=TextField()) if p in stored else p for p in kinds]
        rows = ordered.values_list(*asked).iterator(chunk_size=CHUNK)
        while chunk := list(islice(rows, CHUNK)):
            columns: dict[str, Any] = dict(zip(kinds, zip(*chunk, strict=True), strict=True))
            read = {path: each_once(READ[kinds[path]], columns[path]) for path in told}
            whole = self.complete(columns | read)
            yield Columns([c.of(whole) if c.of else whole[c.path or c.name] for c in self.columns])

    def _kinds(self) -> dict[str, Kind]:
        """Return the paths of the query with what is there."""
        found: dict[str, Kind] = {c.path or c.name: c.kind for c in self.columns if c.of is None}
        found |= dict.fromkeys(self.also, "whole")
        return found | dict.fromkeys(self.also_data, "text")


class AsStored(ExpressionWrapper):  # type: ignore[type-arg]  # no generic when it runs
    """A path whose values are as the driver gives them: data as text, of SQLite times too."""

    def as_sqlite(self, compiler: Any, connection: Any, **options: Any) -> Any:
        sql, values = self.as_sql(compiler, connection, **options)
        return f"CAST({sql} AS text)", values  # of no declared type, after which it would be made


def _time(value: datetime | str | None) -> str | None:
    """Return a time as text; SQLite keeps those of UTC, without saying so."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value).replace(tzinfo=UTC)
    return time_text(value)


@lru_cache(maxsize=KNOWN)
def _data(text: str | None) -> str | None:
    """Return data as exports have it; databases differ in blanks and in what they escape."""
    value = None if text is None else json.loads(text)
    return None if value is None else encoded(value)


READ: Mapping[Kind, Callable[[Any], str | None]] = {"time": _time, "json": _data}


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
        Column("family", of=lambda found: _families(found, entry)),
        Column("algorithm", path=f"{entry}__algorithm"),
    )


def _families(found: Found, entry: str) -> list[str]:
    pairs = zip(found[f"{entry}__kind"], found[f"{entry}__algorithm"], strict=True)
    return [_family_of(kind, name, name in registry.ALGORITHMS) for kind, name in pairs]


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
    Column("duration_seconds", "number", of=lambda found: durations(found)),
)


def durations(found: Found, job: str = "") -> list[float | None]:
    """Return the seconds that jobs took, None where a time is not known.

    `job` begins the paths of their times, as "run__".
    """
    times = found[f"{job}started_at"], found[f"{job}finished_at"]
    return each_once(_duration, list(zip(*times, strict=True)))


def _duration(times: tuple[str | None, str | None]) -> float | None:
    begin, end = times
    if begin is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
