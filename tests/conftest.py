"""What every test has: a data folder of its own."""

from pathlib import Path

import hypothesis
import pytest
from pytest_django.fixtures import Settings

# Machines are shared: how long an example takes says nothing of the code.
hypothesis.settings.register_profile("trilemma", deadline=None)
hypothesis.settings.load_profile("trilemma")


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Point the site at an empty data folder."""
    settings.DATA_DIR = tmp_path / "var"
    settings.DATA_DIR.mkdir()
    return tmp_path / "var"
