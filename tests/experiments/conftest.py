"""Whole sites for tests: one is prepared per session, each test gets a copy."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.site import Site

MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with a database, the digits and their protocol."""
    data = tmp_path_factory.mktemp("prepared")
    with closing(Site(data)) as site:
        prepare(site)
    return data


def prepare(site: Site) -> None:
    site.manage("migrate", "-v0")
    site.manage("register_dataset", "digits", "--digits")
    site.manage("register_protocol", "digits")


@pytest.fixture
def site(prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a prepared site on SQLite and message files; all its processes end with the test."""
    data = tmp_path / "site"
    shutil.copytree(prepared_data, data)
    with ExitStack() as stack:
        yield stack.enter_context(closing(Site(data)))
