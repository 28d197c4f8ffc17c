"""A site on Redis and PostgreSQL where they are installed, and a table of what the faults did."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.experiments.conftest import prepare
from tests.servers import Postgres, Redis, postgres_program
from tests.site import Site

HAVE_SERVERS = bool(shutil.which("redis-server") and postgres_program("initdb"))


@dataclass
class Outcome:
    """What one kind of fault did."""

    fault: str
    trials: int = 0
    lost: int = 0
    doubled: int = 0
    recoveries: list[float] = field(default_factory=list)  # seconds until a job ran again

    def __str__(self) -> str:
        mean = sum(self.recoveries) / len(self.recoveries) if self.recoveries else float("nan")
        worst = max(self.recoveries, default=float("nan"))
        return (
            f"| {self.fault} | {self.trials} | {self.lost} | {self.doubled} "
            f"| {mean:.0f} (at most {worst:.0f}) |"
        )


@dataclass
class Place:
    """A site and the servers under it, None on SQLite and message files."""

    site: Site
    redis: Redis | None
    postgres: Postgres | None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Yield a prepared site whose jobs may be lost a thousand times."""
    data = tmp_path / "site"
    data.mkdir()
    with ExitStack() as stack:
        redis = stack.enter_context(closing(Redis())) if HAVE_SERVERS else None
        postgres = stack.enter_context(closing(Postgres())) if HAVE_SERVERS else None
        addresses = {"MAX_RESTARTS": "1000", "CHECKPOINT_SECONDS": "1"}
        if redis and postgres:
            addresses |= {"BROKER_URL": redis.address, "DATABASE_URL": postgres.address}
        site = stack.enter_context(closing(Site(data, **addresses)))
        prepare(site)
        site.start_web()
        yield Place(site, redis, postgres)


@pytest.fixture
def chance() -> random.Random:
    return random.Random(0)  # noqa: S311  # moments, not secrets


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[Outcome], None]:
    """Return what prints a row of the table although pytest holds back what tests print."""

    def write(outcome: Outcome) -> None:
        with capsys.disabled():
            print(f"\n{outcome}", flush=True)  # noqa: T201  # the table is read in the terminal

    return write


def seconds_since(begin: float) -> float:
    return time.monotonic() - begin
