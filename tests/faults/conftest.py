"""A site on Redis and PostgreSQL where they are installed, and a table of what the faults did."""

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from tests.conftest import prepare
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
    recoveries: list[float] = field(default_factory=list)  # seconds until work went on

    def __str__(self) -> str:
        seconds = ""
        if self.recoveries:
            mean = sum(self.recoveries) / len(self.recoveries)
            seconds = f"{mean:.0f} (at most {max(self.recoveries):.0f})"
        return f"| {self.fault} | {self.trials} | {self.lost} | {self.doubled} | {seconds} |"


@dataclass
class Place:
    """A site and the servers under it, None on SQLite and message files."""

    site: Site
    redis: Redis | None
    postgres: Postgres | None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(
        self, env: Mapping[str, str] | None = None, *, app: str = "config"
    ) -> subprocess.Popen[bytes]:
        """Start a worker under a name that none had."""
        worker = self.site.start_worker(f"worker{len(self.workers)}", env=env, app=app)
        self.workers.append(worker)
        return worker

    def clear(self) -> None:
        """End all workers and delete all experiments."""
        for worker in self.workers:
            self.site.kill(worker)
        self.site.manage("shell", "-v0", "-c", DELETE_ALL)


DELETE_ALL = "from experiments.models import Experiment; Experiment.objects.all().delete()"


class Fault:
    """What happens to a site whose one worker is at work."""

    name: ClassVar[str]
    needs_servers: ClassVar[bool] = False

    def begin(self, place: Place) -> None:
        self.worker = place.start_worker()

    def strike(self, place: Place) -> None:
        raise NotImplementedError


@pytest.fixture(scope="session")
def the_place(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path) -> Iterator[Place]:
    """Yield a prepared site whose jobs may be lost a thousand times."""
    with ExitStack() as stack:
        redis = stack.enter_context(closing(Redis())) if HAVE_SERVERS else None
        postgres = stack.enter_context(closing(Postgres())) if HAVE_SERVERS else None
        addresses = {"MAX_RESTARTS": "1000", "CHECKPOINT_SECONDS": "1"}
        if redis and postgres:
            addresses |= {"BROKER_URL": redis.address, "DATABASE_URL": postgres.address}
        site = stack.enter_context(closing(Site(tmp_path_factory.mktemp("site"), **addresses)))
        shutil.copytree(prepared_data / "extractors", site.data / "extractors")  # trained once
        prepare(site)
        site.start_web()
        yield Place(site, redis, postgres)


@pytest.fixture
def place(the_place: Place) -> Iterator[Place]:
    """Yield the place without experiments and workers."""
    yield the_place
    the_place.clear()


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
