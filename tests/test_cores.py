"""Processes that compute side by side share the cores."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.conf import LazySettings

from jobs import presence
from tests.site import ROOT

COMMANDS = {
    "evaluation": ["-m", "evaluation", "--help"],
    "generators": ["-m", "generators", "measure", "nowhere", "--data", "nowhere"],
    "a worker": ["-c", "import config.celery, torch"],
}


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=() if name == "a worker" else pytest.mark.slow) for name in COMMANDS],
)
def test_threads_do_not_spin_while_they_wait(command: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])

    done = subprocess.run(
        [sys.executable, *COMMANDS[command]],
        env={**env, "OMP_DISPLAY_ENV": "true", "PYTHONPATH": path},  # as the library has read it
        capture_output=True,
        text=True,
        check=False,
    )

    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


@pytest.mark.slow
def test_whoever_says_how_threads_wait_is_obeyed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", "--help"],
        env={**os.environ, "OMP_DISPLAY_ENV": "true", "OMP_WAIT_POLICY": "ACTIVE"},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert "OMP_WAIT_POLICY = 'ACTIVE'" in done.stderr


@pytest.mark.parametrize(
    ("concurrency", "chosen", "threads"), [(1, 0, 0), (2, 0, 3), (4, 0, 1), (16, 0, 1), (2, 5, 5)]
)
def test_a_workers_processes_share_the_cores(
    concurrency: int,
    chosen: int,
    threads: int,
    settings: LazySettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    settings.TORCH_THREADS = chosen

    presence.share_cores(SimpleNamespace(concurrency=concurrency))

    assert threads == settings.TORCH_THREADS
