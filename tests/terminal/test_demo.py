"""`manage.py demo`, as somebody runs it for the first time."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from tests.browsers import CHROMIUM, chromium
from tests.servers import free_port, postgres_program, postgres_server, redis_server, wait_until
from tests.site import Site
from tests.web import five_clicks

FAMILIES = {"gan", "vae", "diffusion"}
AUTHENTICITY = "NN[classifier] authenticity"


def demo(site: Site, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return site.manage("demo", "--port", str(site.port), *options, check=check)


def read_board(path: Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text())
    assert isinstance(rows, list)
    return rows


def check_board(rows: list[dict[str, Any]]) -> None:
    """Check that a finished board has its rows, finite values and fingerprints."""
    assert {row["family"] for row in rows} == {*FAMILIES, "control"}
    assert len({row["protocol"] for row in rows}) == 1
    assert re.fullmatch(r"[0-9a-f]{64}", rows[0]["protocol"])
    metrics = [name for name in rows[0] if name.endswith(" low") and name != "rank low"]
    assert len(metrics) >= 10
    assert [row["control_kind"] for row in rows] == [
        "test",
        "",
        "",
        "",
        "",
        "copy",
        "noise",
        "blur",
    ]
    for row in rows:
        assert row["seeds_scored"] == row["seeds_total"] >= 1
        for low in metrics:
            value = row[low.removesuffix(" low")]
            assert isinstance(value, float)
            assert math.isfinite(value)
    assert not any("FID" in name for name in rows[0])
    check_copy(rows)


def check_copy(rows: list[dict[str, Any]]) -> None:
    """Check that the copy of training images is caught, and that no model is called one."""
    real = next(row for row in rows if row["control_kind"] == "test")
    for row in rows:
        below = row[f"{AUTHENTICITY} high"] < real[f"{AUTHENTICITY} low"]
        assert below == (row["control_kind"] == "copy"), row["entry"]


def leftovers(data: Path) -> list[str]:
    """Return the command lines of processes that still work in a data folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"DATA_DIR={data}\0".encode() in environment and int(process.name) != os.getpid():
            found.append(line)
    return found


@pytest.fixture
def quick_demo(data_dir: Path) -> Iterator[Site]:
    """Yield a site in which the quick demo can run, empty at first."""
    with closing(Site(data_dir)) as site:
        yield site


@pytest.mark.acceptance
@pytest.mark.slow
def test_the_demo_fills_the_board_and_a_second_one_finds_it(quick_demo: Site) -> None:
    site, board = quick_demo, quick_demo.data / "board.json"

    first = demo(site, "--quick", "--exit", "--json", str(board))

    rows = read_board(board)
    check_board(rows)
    assert "Account for /admin/: admin, password" in first.stdout
    assert "FD[classifier]" in first.stdout
    assert leftovers(site.data) == []

    second = demo(site, "--quick", "--exit", "--json", str(board))

    assert read_board(board) == rows
    assert "password" not in second.stdout
    assert "Found 'GAN vs VAE vs diffusion (quick)'" in second.stdout
    assert leftovers(site.data) == []
    if CHROMIUM is not None:
        with chromium() as browser:
            five_clicks.walk(browser.new_context(base_url=site.start_web()).new_page())


@pytest.mark.faults
def test_an_interrupted_demo_ends_its_processes_and_goes_on_later(site: Site) -> None:
    port = str(free_port())
    process = site.start("manage.py", "demo", "--quick", "--port", port)

    def serves() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return True
        except OSError:
            return False

    wait_until(serves, seconds=90, what="the demo's site")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert leftovers(site.data) == []

    board = site.data / "board.json"
    demo(site, "--quick", "--exit", "--json", str(board))

    check_board(read_board(board))


@pytest.mark.faults  # its servers are those of tests/faults
@pytest.mark.skipif(
    shutil.which("redis-server") is None or postgres_program("initdb") is None,
    reason="needs redis-server and PostgreSQL",
)
def test_the_same_thread_runs_on_postgresql_and_redis(data_dir: Path) -> None:
    board = data_dir / "board.json"
    with postgres_server() as database, redis_server() as broker:
        servers = {"DATABASE_URL": database, "BROKER_URL": broker}
        with closing(Site(data_dir, **servers)) as site:
            demo(site, "--quick", "--exit", "--json", str(board))

    check_board(read_board(board))
    assert not (data_dir / "db.sqlite3").exists()
    assert leftovers(data_dir) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds: expected 1 to 100, got 0"),
        (["--port", "99999"], "--port: expected 1 to 65535, got 99999"),
        (["--json", "/nowhere/board.json"], "--json: the folder /nowhere does not exist"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_made(
    data_dir: Path, options: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        call_command("demo", *options)  # the database would refuse this test

    assert not any(path.is_file() for path in data_dir.rglob("*"))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = Site(tmp_path).manage("demo", "--port", str(port), check=False)

    assert done.returncode == 1
    assert f"port {port} is in use; choose another one with --port" in done.stderr


@pytest.mark.slow
def test_the_default_demo_shows_what_it_says(quick_demo: Site) -> None:
    """The families draw what they are asked for, and nothing beats real images.

    An independent classifier, trained on real digits, agrees with the requested label for at least
    90 % of the VAE's and the diffusion model's samples and 80 % of the GAN's.
    """
    site, board = quick_demo, quick_demo.data / "board.json"

    demo(site, "--exit", "--json", str(board))

    rows = read_board(board)
    check_board(rows)
    fd = {row["control_kind"]: row["FD[classifier]"] for row in rows if row["control"]}
    assert all(fd["test"] < r["FD[classifier]"] for r in rows if not r["control"])
    assert fd["test"] < fd["blur"] < fd["noise"]
    digits = load_digits()
    judge = SVC().fit(digits.data / 16, digits.target)
    site.start_web()
    for sample_set in site.get("/api/samplesets/")["results"]:
        (path,) = (site.data / "samples").glob(f"{sample_set['id']}-*.npz")
        if sample_set["label"] in ("Uniform noise", "Blurred test images"):
            continue
        with np.load(path) as file:
            pixels, labels = file["arr_0"], file["labels"]
        agreement = (judge.predict(pixels.reshape(len(pixels), -1) / 255) == labels).mean()
        wanted = 0.8 if "GAN" in sample_set["label"] else 0.9
        assert agreement >= wanted, f"{sample_set['label']}: {agreement:.3f}"


# Of the prompts of a group, how many images have all that is asked; seed 0 had 0.96 of 48, 0.94 of 32,
# 0.81 of 16, 0.83 of 24 and 0.95 of 160.
LEAST = {"colour": 0.9, "shape": 0.85, "size": 0.85, "number": 0.85, "pair": 0.85}
FOLLOWED = """
import json
from experiments.models import MetricValue
values = MetricValue.objects.filter(metric="following", evaluation__sample_set__run__isnull=False)
print(json.dumps([
    {
        "entry": value.evaluation.sample_set.entry.label,
        "seed": value.evaluation.sample_set.run.seed,
        "groups": {name: each["value"] for name, each in value.details.get("groups", {}).items()},
    }
    for value in values
]))
"""


@pytest.mark.slow
def test_the_demo_of_words_draws_what_it_is_asked(quick_demo: Site) -> None:
    """Of both seeds the best entry draws what it is asked: single attributes, and pairs it has seen."""
    site, board = quick_demo, quick_demo.data / "board.json"

    demo(site, "--text", "--seeds", "2", "--exit", "--json", str(board))

    rows = read_board(board)
    assert {row["family"] for row in rows} == {*FAMILIES, "control"}
    real, shuffled = (
        next(row["Following"] for row in rows if row["control_kind"] == kind)
        for kind in ("asked", "shuffled")
    )
    assert real == 1 and shuffled < 0.1
    found = json.loads(site.manage("shell", "-v", "0", "-c", FOLLOWED).stdout.splitlines()[-1])
    for seed in (0, 1):
        best = max(
            (each["groups"] for each in found if each["seed"] == seed and each["groups"]),
            key=lambda groups: float(groups["colour"] + groups["shape"]),
        )
        assert all(best[group] >= least for group, least in LEAST.items()), best
