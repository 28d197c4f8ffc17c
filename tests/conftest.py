"""What every test has: a data folder of its own, and a whole site where it asks for one."""

import fcntl
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import hypothesis
import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.signals import request_finished, request_started
from pytest_django.fixtures import Settings

from tests.servers import wait_until
from tests.site import Site

# Before torch is loaded: sums have the same bits on one thread only, and the cores are shared.
os.environ["OMP_NUM_THREADS"] = "1"

# Machines are shared: how long an example takes says nothing of the code.
hypothesis.settings.register_profile("trilemma", deadline=None)
hypothesis.settings.load_profile("trilemma")

TESTS = Path(__file__).parent
LONGEST = (  # files of tests, minutes to tens of seconds
    "terminal/test_demo.py",
    "faults/test_faults.py",
    "experiments/test_pipeline.py",
    "experiments/test_workers.py",
    "web/test_uploading.py",
    "readme/test_models.py",
    "experiments/test_pipelines_at_work.py",
    "experiments/test_submission.py",
    "generators/test_command_line.py",
    "operations/test_backups.py",
    "terminal/test_any_terminal.py",
    "evaluation/protocols/test_plugins.py",
    "config/test_queries.py",
    "web/test_prefix.py",
    "config/test_addresses.py",
    "catalog/test_stored.py",
    "generators/test_conformance.py",
    "experiments/test_plugins.py",
    "experiments/test_plugged_scoring.py",
    "web/test_browser.py",
    "catalog/test_protocols.py",
    "evaluation/features/test_inception.py",
    "evaluation/scoring/test_evaluate.py",
)


@pytest.fixture(scope="session", autouse=True)
def static_files_of_the_site() -> Iterator[None]:
    """Let live servers leave static files to the site's own middleware, as `runserver` does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StaticFilesHandler, "_should_handle", lambda *_: False)
        yield


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Point the site at an empty data folder."""
    settings.DATA_DIR = tmp_path / "var"
    settings.DATA_DIR.mkdir()
    return tmp_path / "var"


@pytest.fixture(autouse=True)
def all_is_answered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty the database after a live server's test when its last answer has ended, not during it."""
    if "live_server" not in request.fixturenames:
        yield
        return
    request.getfixturevalue("transactional_db")  # ends after this
    begun: Counter[int | None] = Counter()  # by thread: the test's own client asks from the first

    def begin(**_: object) -> None:
        begun[threading.current_thread().ident] += 1

    def end(**_: object) -> None:
        begun[threading.current_thread().ident] -= 1

    request_started.connect(begin)
    request_finished.connect(end)
    yield
    here = threading.current_thread().ident
    wait_until(
        lambda: not any(number > 0 for ident, number in [*begun.items()] if ident != here),
        seconds=30,
        what="the server has answered",
    )
    request_started.disconnect(begin)
    request_finished.disconnect(end)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` has filled: once, for all processes of tests."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name)
        make(folder)
        return folder
    whole = factory.getbasetemp().parent / name
    with Path(f"{whole}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            folder = factory.mktemp(name)
            make(folder)
            folder.rename(whole)
    return whole


@pytest.fixture(scope="session")
def migrated_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with a database without rows; tests only read it."""

    def fill(data: Path) -> None:
        Site(data).manage("migrate", "-v0")

    return made_once(tmp_path_factory, "migrated", fill)


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with a database, the digits and their protocol; tests only read it."""

    def fill(data: Path) -> None:
        with closing(Site(data)) as site:
            prepare(site)

    return made_once(tmp_path_factory, "prepared", fill)


def prepare(site: Site) -> None:
    site.manage("migrate", "-v0")
    site.manage("register_dataset", "digits", "--digits")
    site.manage("register_protocol", "digits")


@pytest.fixture
def site(prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a prepared site on SQLite and message files; all its processes end with the test."""
    data = tmp_path / "site"
    shutil.copytree(prepared_data, data)
    with closing(Site(data)) as site:
        yield site


@pytest.fixture
def engine_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the site ask the engine in this process; what it asks and is told are the same."""
    from tests import engine  # noqa: PLC0415  # loads torch

    monkeypatch.setattr("catalog.engine.subprocess", engine)


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process ends long after the others."""
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
