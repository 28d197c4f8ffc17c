"""`manage.py run_experiment`: from a file to its board, interrupted or not."""

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from tests.servers import wait_until
from tests.site import Site
from tests.terminal.test_demo import leftovers, read_board


def write(site: Site, **changes: Any) -> str:
    """Write a file that describes a small experiment, and return its name."""
    data = {
        "name": "from a file",
        "dataset": "digits",
        "protocols": ["classifier-test"],
        "budget": {"images": 20_000},
        "entries": [{"algorithm": "vae.conv", "label": "VAE"}],
        **changes,
    }
    path = site.data / "experiment.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def checkpoints(site: Site) -> list[Path]:
    return list(site.data.glob("runs/*/ckpt-*"))


@pytest.mark.slow
def test_a_file_is_worked_off_and_an_interrupted_command_goes_on(site: Site) -> None:
    file, board = write(site), site.data / "board.json"
    process = site.start("manage.py", "run_experiment", file, "--json", str(board))
    wait_until(lambda: checkpoints(site), seconds=90, what="a checkpoint")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert leftovers(site.data) == []
    assert not board.exists()

    done = site.manage("run_experiment", file, "--json", str(board))

    assert "Found experiment 1: /experiments/1/" in done.stdout
    assert "FD[classifier]" in done.stdout
    assert "1 of 1 runs completed" in done.stdout
    rows = read_board(board)
    assert [row["entry"] for row in rows if not row["control"]] == ["VAE"]
    assert leftovers(site.data) == []

    other = write(site, budget={"images": 500}, seeds=2)
    refused = site.manage("run_experiment", other, check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "name: another experiment is named 'from a file'",
        "budget: 20,000 images seen when it was submitted, 500 images seen now",
        "seeds: [0] when it was submitted, [0, 1] now",
    ]


@pytest.mark.slow
def test_failed_runs_are_shown_and_counted_and_a_living_worker_is_enough(site: Site) -> None:
    (train,) = (site.data / "datasets").glob("*/train.npz")
    whole = train.read_bytes()
    train.write_bytes(whole[:-1] + b"?")
    file, board = write(site, budget={"images": 600}), site.data / "board.json"
    site.start_worker()
    site.start_web()
    wait_until(lambda: "one@" in workers(site), seconds=60, what="the worker")

    failed = site.manage("run_experiment", file, "--json", str(board), check=False)

    assert failed.returncode == 1
    assert "VAE, seed 0: failed: " in failed.stdout
    assert "0 of 1 runs completed" in failed.stdout
    assert "Started a worker" not in failed.stdout
    (row,) = [row for row in read_board(board) if row["entry"] == "VAE"]
    assert (row["seeds_scored"], row["seeds_failed"]) == (0, 1)

    train.write_bytes(whole)
    again = site.manage("run_experiment", file, check=False)
    assert again.returncode == 1  # what has failed stays so

    retried = site.manage("run_experiment", file, "--retry", "--json", str(board))
    assert "jobs tried again" in retried.stdout
    assert json.loads(board.read_text())


def workers(site: Site) -> str:
    with urlopen(f"{site.address}/workers/", timeout=30) as answer:  # noqa: S310  # loopback
        return str(answer.read())
