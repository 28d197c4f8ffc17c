"""A folder of one's own and a site, for what the help says is to be typed."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.site import ROOT, Site


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder in which the help's commands can be typed."""
    folder = tmp_path / "place"
    folder.mkdir()
    (folder / "manage.py").symlink_to(ROOT / "manage.py")
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    data = tmp_path / "data"
    data.mkdir()
    with closing(Site(data, PYTHON=sys.executable)) as made:
        yield made
