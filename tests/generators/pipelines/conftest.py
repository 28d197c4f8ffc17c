import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from diffusers.utils import logging

from tests.generators.pipelines import tiny

Copy = Callable[[str], Path]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny pipeline by its name, made once; tests only read it."""
    home = tmp_path_factory.mktemp("pipelines")

    def find(name: str) -> Path:
        if name not in tiny.WITHOUT_WORDS and find_spec("transformers") is None:
            pytest.skip("needs the extra [text]: transformers is not installed")
        if not (home / name).exists():
            made = {**tiny.WITHOUT_WORDS, **tiny.WITH_WORDS, "preconditioned": tiny.preconditioned}
            made[name](home / name)
        return home / name

    return find


@pytest.fixture
def copied(folder_of: Callable[[str], Path], tmp_path: Path) -> Copy:
    """Return a tiny pipeline's folder of a test's own."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(folder_of(name), tmp_path / name))

    return copy
