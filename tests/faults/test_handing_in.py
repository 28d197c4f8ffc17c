"""Kill -9 of the command and of the worker while samples are handed in: nothing half, nothing twice."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets.atomic import sha256_of
from tests.experiments.test_workers import wait_for_status
from tests.servers import wait_until
from tests.site import ROOT, Site

TRIALS = int(os.environ.get("FAULT_TRIALS", "4"))
pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("default::ResourceWarning")]
IMAGES = 10_000  # of 8x8, so that a worker is at them for seconds


def write(place: Path) -> list[str]:
    """Return the command's arguments: two seeds and what is said of them."""
    paths = []
    for seed in range(2):
        paths.append(place / f"{seed}.npz")
        pixels = np.random.default_rng(seed).integers(0, 256, (IMAGES, 8, 8, 1), np.uint8)
        np.savez(paths[-1], pixels)
    (place / "m.yaml").write_text("system: Noise\n")
    return [*map(str, paths), "--manifest", str(place / "m.yaml")]


def hand_in_and_be_killed(site: Site, arguments: list[str], seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "submit_samples", *arguments],
        cwd=ROOT,
        env=site.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    process.kill()
    process.wait()


def test_kill_9_of_command_and_worker_leaves_nothing_half_and_nothing_twice(
    site: Site, tmp_path: Path
) -> None:
    site.start_web()
    (protocol,) = site.get("/api/protocols/")["results"]
    arguments = [*write(tmp_path), "--protocol", protocol["fingerprint"]]
    chance = random.Random(0)  # noqa: S311  # moments to strike at
    begin = time.monotonic()
    site.manage("submit_samples", *arguments, "--name=undisturbed")
    whole = time.monotonic() - begin

    for _ in range(TRIALS):
        hand_in_and_be_killed(site, arguments, chance.uniform(0.3, 1.0) * whole)
        found = site.get("/api/entries/?kind=external")["results"]
        assert len(found) in (1, 2)  # the undisturbed one, and this one whole or not at all
        assert all(len(each["sample_sets"]) == 2 for each in found)
    site.manage("submit_samples", *arguments)

    _, entry = sorted(site.get("/api/entries/?kind=external")["results"], key=lambda e: e["id"])[:2]
    assert len(site.get("/api/entries/?kind=external")["results"]) == 2
    kept = [path for path in (site.data / "submissions").iterdir() if path.suffix == ".npz"]
    assert len(kept) == 2 and all(path.stem == sha256_of(path) for path in kept)

    def state() -> list[str]:
        sets = site.get(f"/api/entries/{entry['id']}/")["sample_sets"]
        return [each["status"] for each in sets]

    worker = site.start_worker()
    wait_until(lambda: "running" in state(), seconds=120, what="a worker to read a set")
    site.kill(worker)
    site.start_worker("two")
    wait_for_status(site, entry["experiment"], "completed", seconds=240)

    evaluations = site.get(f"/api/evaluations/?experiment={entry['experiment']}")["results"]
    of_entry = [each for each in evaluations if each["entry"] == entry["id"]]
    assert len(of_entry) == 2 and len({each["sample_set"] for each in of_entry}) == 2
    told = site.get(f"/api/entries/{entry['id']}/")["sample_sets"]
    assert [(each["status"], each["count"]) for each in told] == [("completed", IMAGES)] * 2
