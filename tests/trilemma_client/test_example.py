"""The example of the Python client, done as it stands against a live site with a worker."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import trilemma_client
from tests.site import ROOT, Site

SECONDS = 1500  # on a busy machine


def example() -> str:
    """Return the code of the client's documentation."""
    _, _, code = (trilemma_client.__doc__ or "").partition("::\n")
    return textwrap.dedent(code)


def test_the_help_has_the_example() -> None:
    assert example().strip() in (ROOT / ".readme" / "rest.md").read_text("utf-8")


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
