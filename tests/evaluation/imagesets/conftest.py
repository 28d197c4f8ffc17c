from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty folder; tmp_path itself holds the site's data folder."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"
