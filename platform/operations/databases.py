"""A whole database as one file, and back: SQLite by its backup, PostgreSQL by its own programs."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, transaction


class DatabaseCopyError(RuntimeError):
    """A database that cannot be copied, or a copy that cannot be a database."""


def is_empty() -> bool:
    """Return whether the database has no tables yet."""
    return not connection.introspection.table_names()


@contextmanager
def snapshot(file: Path) -> Iterator[None]:
    """Write the database into `file`; what is queried inside is the same moment's.

    Raises:
        DatabaseCopyError: if the database is of another kind, or its programs are missing or fail.
    """
    dump = _of_this_kind({"sqlite": _dump_sqlite, "postgresql": _dump_postgres})
    with transaction.atomic():
        dump(file)
        yield


def load(file: Path) -> None:
    """Replace the whole database by the copy in `file`, or change nothing.

    Raises:
        DatabaseCopyError: if the copy is damaged, or PostgreSQL's programs are missing or fail.
    """
    _of_this_kind({"sqlite": _load_sqlite, "postgresql": _load_postgres})(file)


def _of_this_kind(functions: dict[str, Callable[[Path], None]]) -> Callable[[Path], None]:
    if connection.vendor not in functions:
        raise DatabaseCopyError(
            f"expected a database of {' or '.join(functions)}, not of {connection.vendor}"
        )
    return functions[connection.vendor]


# --- SQLite --------------------------------------------------------------------------------------


def _dump_sqlite(file: Path) -> None:
    reader = connection.copy()  # our own transaction keeps writers away, and may not be copied
    try:
        reader.ensure_connection()
        with closing(sqlite3.connect(file)) as target:
            reader.connection.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
    finally:
        reader.close()


def _load_sqlite(file: Path) -> None:
    connection.ensure_connection()
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as source:
            problems = source.execute("PRAGMA quick_check").fetchall()
            if problems != [("ok",)]:
                raise DatabaseCopyError(f"the database is damaged: {problems[0][0]}")
            source.backup(connection.connection)
    except sqlite3.DatabaseError as error:
        raise DatabaseCopyError(f"the database cannot be loaded: {error}") from error


# --- PostgreSQL ----------------------------------------------------------------------------------


def _dump_postgres(file: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_export_snapshot()")
        (name,) = cursor.fetchone()
    options = [f"--snapshot={name}", f"--file={file}", "--format=custom"]
    _run("pg_dump", [*options, "--no-owner", "--no-privileges"])


def _load_postgres(file: Path) -> None:
    connection.close()
    options = ["--single-transaction", "--clean", "--if-exists", "--no-owner", "--no-privileges"]
    _run("pg_restore", [*options, str(file)])


def _run(program: str, options: list[str]) -> None:
    """Run one of PostgreSQL's programs on our database; its password never is an argument."""
    if shutil.which(program) is None:
        raise DatabaseCopyError(
            f"{program} is not installed; it is one of PostgreSQL's client programs "
            "(Debian: postgresql-client)"
        )
    client: Any = connection.client
    (_, *address, name), variables = client.settings_to_cmd_args_env(connection.settings_dict, [])
    done = subprocess.run(  # noqa: S603  # PostgreSQL's program on our own database
        [program, *address, f"--dbname={name}", *options],
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DatabaseCopyError(f"{program} failed: {done.stderr.strip()}")
