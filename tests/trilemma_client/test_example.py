"""The example of the Python client, done as it stands against a live site with a worker."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import trilemma_client
from tests.readme.pages import blocks
from tests.site import ROOT, Site

SECONDS = 1500  # on a busy machine


def example() -> str:
    """Return the code of the client's documentation."""
    _, _, code = (trilemma_client.__doc__ or "").partition("::\n")
    return textwrap.dedent(code)


def test_the_help_has_the_example() -> None:
    assert example().strip() in (ROOT / ".readme" / "rest.md").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_same_from_the_shell(site: Site, tmp_path: Path) -> None:
    submits, reads = blocks(".readme/rest.md")
    site.start_worker()
    given = {"SITE": site.start_web(), "TOKEN": site.make_token(), "PYTHON": sys.executable}
    commands = f'python() {{ "$PYTHON" "$@"; }}\n{submits}\n{reads}'

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607  # the help's own commands
        cwd=tmp_path,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr + site.log()
    assert "SNGAN" in (tmp_path / "board.csv").read_text("utf-8")
    assert (tmp_path / "values.csv").read_text("utf-8").startswith("id,experiment,")
    with np.load(tmp_path / "samples.npz") as file:
        assert file["arr_0"].shape[1:] == (8, 8, 1)


@pytest.mark.slow
def test_the_example_submits_waits_and_reads(site: Site, tmp_path: Path) -> None:
    site.start_worker()
    token, address = site.make_token(), site.start_web()
    given = {**os.environ, "TRILEMMA_URL": address, "TRILEMMA_TOKEN": token}

    done = subprocess.run(
        [sys.executable, "-c", f"{example()}\nprint(experiment.status, len(pictures))"],
        cwd=tmp_path,
        env={**given, "PYTHONPATH": site.env["PYTHONPATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert done.returncode == 0, done.stdout + done.stderr + site.log()
    *rows, last = done.stdout.strip().splitlines()
    status, count = last.split()
    assert status == "completed" and int(count) > 0
    board = {" ".join(line.split()[1:-1]) for line in rows}
    assert {"SNGAN", "Conv VAE", "Real test images"} <= board
    assert (tmp_path / "values.csv").read_text("utf-8").startswith("id,experiment,")
