"""Many at once on a lab's web server: `python -m tests.benchmarks.sites.load [SITE]`.

Fifty readers and five submitters ask gunicorn, with the workers and threads of the lab's image, for a
minute on a copy of SITE, or on a site filled for this, on SQLite or on a PostgreSQL of its own. SITE is
the DATA_DIR of a filled one, as large as may be, which is only read: of its SQLite file, or with
`SITE=postgres://…` of that database, which is copied beside itself and dropped again; nobody else may
be connected to it while that begins. Told are the answers' times, the errors, and how often a log says
"database is locked"; any error ends the command with 1.
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg
from psycopg import sql

from tests.servers import listens, postgres_server, wait_until
from tests.site import Site

GUNICORN = ["config.wsgi", "--workers", "2", "--threads", "4"]
GUNICORN += ["--worker-tmp-dir", "/dev/shm", "--bind"]  # noqa: S108  # as the image has it
SECONDS = 60  # that an answer may take
LOCKED = "database is locked"
READ = (  # what people look at
    "/",
    "/live/activity/",
    "/experiments/",
    "/experiments/{experiment}/",
    "/runs/{run}/",
    "/leaderboards/",
    "/leaderboards/{protocol}/",
    "/leaderboards/{protocol}/?sort=recall&family=gan",
    "/api/v1/runs/?status=completed",
    "/api/v1/leaderboards/{protocol}/?page=1",
)
FOUND = (
    "import json; from experiments.models import Run; from catalog.models import Protocol;"
    "run = Run.objects.filter(status='completed').latest('pk');"
    "protocol = Protocol.objects.get(name='small').fingerprint;"
    "print(json.dumps({'run': run.pk, 'experiment': run.entry.experiment_id, 'protocol': protocol,"
    " 'dataset': run.entry.experiment.dataset.slug}))"
)


@dataclass
class Told:
    """What all of them were answered: the times of good answers, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)  # by who asked
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, who: str, seconds: float, error: str) -> None:
        if error:
            self.errors[f"{who}: {error}"] += 1
        else:
            self.seconds.setdefault(who, []).append(seconds)

    def line(self, who: str) -> dict[str, Any]:
        found = self.seconds.get(who, [])
        cuts = quantiles(found, n=100) if len(found) > 1 else found * 99 or [0.0] * 99
        return {"answers": len(found), "p50_s": cuts[49], "p95_s": cuts[94], "p99_s": cuts[98]}


@dataclass(frozen=True)
class Person:
    """Somebody who asks, reads the answer for a while, and asks again."""

    who: str
    port: int
    ask: Callable[[HTTPConnection], tuple[str, int]]  # what was asked, the answer's status
    pause: float  # seconds, at the mean

    def stay(self, until: float, told: Told) -> None:
        while time.monotonic() < until:
            begin = time.perf_counter()
            error = self._error()
            told.add(self.who, time.perf_counter() - begin, error)
            time.sleep(random.uniform(0, 2 * self.pause))  # noqa: S311  # keeps no secret

    def _error(self) -> str:
        """Ask once, over a connection of its own, and return what went wrong."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            try:
                address, status = self.ask(connection)
            except (OSError, HTTPException) as caught:
                return f"{type(caught).__name__}: {caught}"
        return f"{status} {address}" if status >= 400 else ""


def reader(addresses: list[str]) -> Callable[[HTTPConnection], tuple[str, int]]:
    def ask(connection: HTTPConnection) -> tuple[str, int]:
        address = random.choice(addresses)  # noqa: S311
        connection.request("GET", address)
        answer = connection.getresponse()
        answer.read()
        return address, answer.status

    return ask


def submitter(found: dict[str, Any], token: str) -> Callable[[HTTPConnection], tuple[str, int]]:
    """Return what submits an experiment of two entries and three seeds."""
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    entries = [{"algorithm": name, "preset": "tiny"} for name in ("vae.conv", "gan.r3gan")]
    asked = {"dataset": found["dataset"], "protocols": [found["protocol"]], "entries": entries}
    asked |= {"budget": {"images": 1000}, "seeds": 3}

    def ask(connection: HTTPConnection) -> tuple[str, int]:
        body = json.dumps(asked | {"name": f"Under load {time.time_ns()}"})
        connection.request("POST", "/api/v1/experiments/", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return f"a submission {text[:200]!r}" if answer.status >= 400 else "", answer.status

    return ask


@contextmanager
def served(given: argparse.Namespace) -> Iterator[Site]:
    """Yield a filled site behind gunicorn, on the database that was asked for."""
    with tempfile.TemporaryDirectory(prefix="trilemma-load-") as folder:
        data = Path(folder) / "site"
        data.mkdir()
        with _database(given) as variables, closing(_site(data, **variables)) as site:
            _fill(site, given)
            yield site


@contextmanager
def _database(given: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Yield the variables that lead to a database which may be written to."""
    _, _, address = given.site.partition("=")
    if address:
        with copied(address) as copy:
            yield {"DATABASE_URL": copy}
    elif given.database == "postgresql":
        with postgres_server() as empty:
            yield {"DATABASE_URL": empty}
    else:
        yield {}


@contextmanager
def copied(address: str) -> Iterator[str]:
    """Yield the address of a copy of a PostgreSQL database, on the same server, until it is left."""
    server, _, origin = address.rpartition("/")
    name = sql.Identifier(copy := f"load_{time.time_ns()}")
    with closing(psycopg.connect(f"{server}/postgres", autocommit=True)) as database:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        database.execute(made.format(name, sql.Identifier(origin)))
        try:
            yield f"{server}/{copy}"
        finally:
            database.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _site(data: Path, **variables: str) -> Site:
    # All ask from one address here, which a lab's people do not.
    rates = {"API_RATE_VISITOR": "", "API_RATE_ACCOUNT": ""}
    return Site(data, LOG_LEVEL="WARNING", **rates, **variables)


def _fill(site: Site, given: argparse.Namespace) -> None:
    folder, _, address = given.site.partition("=")
    if folder and not address:
        copy_database(Path(folder), site.data)
    site.manage("migrate", "-v0")
    if not folder:
        site.run("-m", "tests.benchmarks.sites.filling", str(given.runs))
        site.manage("rescore")


def copy_database(origin: Path, target: Path) -> None:
    """Copy a site's SQLite database as it is now, what its log holds included."""
    address = f"file:{origin / 'db.sqlite3'}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as old:
        with closing(sqlite3.connect(target / "db.sqlite3")) as new:
            old.backup(new)
    if (key := origin / "secret_key").exists():
        shutil.copy(key, target)


def people(site: Site, given: argparse.Namespace) -> list[Person]:
    token = site.make_token()
    found = json.loads(site.manage("shell", "-v0", "-c", FOUND).stdout)
    reads = reader([address.format(**found) for address in READ])
    submits = submitter(found, token)
    return [
        *(Person("reader", site.port, reads, given.pause) for _ in range(given.readers)),
        *(Person("submitter", site.port, submits, given.pause) for _ in range(given.submitters)),
    ]


def load(site: Site, given: argparse.Namespace) -> Told:
    """Let all of them ask for so many seconds, and return what they were told."""
    asking, told = people(site, given), Told()
    site.start("-m", "gunicorn", *GUNICORN, f"127.0.0.1:{site.port}")
    wait_until(lambda: listens(site.port), seconds=60, what="gunicorn")
    for _ in range(20):  # both workers have begun
        site.read("/healthz")
    until = time.monotonic() + given.seconds
    threads = [
        threading.Thread(target=each.stay, args=(until, told), daemon=True) for each in asking
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "site", nargs="?", default="", help="DATA_DIR or DATA_DIR=postgres://…; else one is filled"
    )
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    arguments.add_argument("--runs", type=int, default=1000, help="of a site that is filled")
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--readers", type=int, default=50)
    arguments.add_argument("--submitters", type=int, default=5)
    arguments.add_argument("--pause", type=float, default=2, help="of each, in seconds at the mean")
    given = arguments.parse_args()
    if given.site and given.database != "sqlite":
        arguments.error("--database postgresql: expected no SITE, or SITE=postgres://… without it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so ends gunicorn
    with served(given) as site:
        told = load(site, given)
        logs = "".join(path.read_text(errors="replace") for path in site.data.glob("process-*.log"))
    print(  # noqa: T201
        json.dumps(
            {who: told.line(who) for who in ("reader", "submitter")}
            | {"errors": told.errors, "locked": logs.count(LOCKED)},
            indent=1,
        )
    )
    if told.errors or LOCKED in logs:
        print(logs[-5000:], file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
