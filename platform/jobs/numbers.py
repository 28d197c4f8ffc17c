"""How many jobs there are, by kind and status, without looking at each of hundreds of thousands."""

from collections import Counter

from django.db import connection

from jobs.models import Job, Status

ALL = ""  # in place of a status


def by_status() -> Counter[tuple[str, str]]:
    """Return how many jobs there are by kind and status, in one statement, so of one moment.

    Nearly all jobs are completed: the others are counted by their statuses, and all together, which
    SQLite does by the pages of an index. So are those that are completed, as what is left.
    """
    parts, values = [], list[str]()
    others = [status for status in Status.values if status != Status.COMPLETED]
    for kind in Job.kinds():
        table = connection.ops.quote_name(kind._meta.db_table)
        parts += [
            f"SELECT %s, %s, (SELECT COUNT(*) FROM {table})",  # noqa: S608  # a table of ours
            f"SELECT %s, status, COUNT(*) FROM {table}"  # noqa: S608
            f" WHERE status IN ({', '.join(['%s'] * len(others))}) GROUP BY status",
        ]
        values += [kind.type_name(), ALL, kind.type_name(), *others]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), values)
        return _with_completed(cursor.fetchall())


def _with_completed(rows: list[tuple[str, str, int]]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for kind, status, number in rows:
        if status == ALL:
            found[kind, Status.COMPLETED] += number
        else:
            found[kind, status] += number
            found[kind, Status.COMPLETED] -= number
    return found
