"""Static files in tests of views."""

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings


@pytest.fixture(autouse=True)
def static_root(settings: Settings, data_dir: Path) -> Path:
    """Make the folder whose absence Whitenoise warns of, and find files only when asked."""
    settings.STATIC_ROOT = data_dir / "static"
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    settings.WHITENOISE_AUTOREFRESH = True
    return data_dir / "static"
