"""Real workers that are killed: a viewing is drawn once, and the log of what they did is there."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import prepare
from tests.experiments.test_workers import run_of, submit, wait_for_status
from tests.faults.conftest import HAVE_SERVERS
from tests.servers import postgres_server, redis_server, wait_until
from tests.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default::ResourceWarning")]

DDPM: dict[str, Any] = {
    "algorithm": "diffusion.ddpm",
    "config": {"base_channels": 8, "batch_size": 32},
    "samplers": [{"name": "ddim", "steps": 2}],
}
NOISY = {
    "algorithm": "vae.conv",
    "config": {"base_channels": 4},
}


LINES = """
import json
from jobs.models import JobEvent
lines = JobEvent.objects.filter(job_type="viewing").values_list("kind", "attempt", "worker")
print(json.dumps([list(line) for line in lines]))
"""


@pytest.fixture(params=["files", "servers"])
def at_work(request: pytest.FixtureRequest, prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a served site: on SQLite and message files, and on PostgreSQL and Redis."""
    with ExitStack() as stack:
        if request.param == "files":
            data = shutil.copytree(prepared_data, tmp_path / "site")
            site = stack.enter_context(closing(Site(data)))
        else:
            if not HAVE_SERVERS:
                pytest.skip("needs redis-server and PostgreSQL")
            addresses = {
                "BROKER_URL": stack.enter_context(redis_server()),
                "DATABASE_URL": stack.enter_context(postgres_server()),
            }
            (tmp_path / "site").mkdir()
            site = stack.enter_context(closing(Site(tmp_path / "site", **addresses)))
            shutil.copytree(prepared_data / "extractors", site.data / "extractors")  # trained once
            prepare(site)
        site.start_web()
        yield site


def test_a_viewing_whose_worker_is_killed_is_drawn_once_by_another(at_work: Site) -> None:
    site, token = at_work, at_work.make_token()
    doomed = site.start_worker("one")
    experiment = submit(site, images=320, algorithms=[], entries=[DDPM])
    run = run_of(site, experiment)["id"]
    trained = f"/api/runs/{run}/"
    wait_until(lambda: site.get(trained)["status"] == "completed", seconds=180, what="the training")
    wanted = {"run": run, "kind": "samplers"}

    asked = site.post("/api/viewings/", token=token, body=wanted)
    path = f"/api/viewings/{asked['id']}/"
    wait_until(lambda: site.get(path)["status"] == "running", seconds=60, what="a worker")
    os.killpg(doomed.pid, signal.SIGSTOP)  # it ends nothing while it is looked at
    held = site.get(path)
    site.kill(doomed)
    again = site.post("/api/viewings/", token=token, body=wanted)  # by somebody who waits, too
    assert held["status"] == "running"
    site.start_worker("two")
    wait_until(lambda: site.get(path)["status"] == "completed", seconds=120, what="the pictures")
    time.sleep(8)  # a lease and more: whatever would be done twice is done by now

    done = site.get(path)
    assert again["id"] == asked["id"]
    assert done["facts"]["frames"]
    lines = json.loads(site.manage("shell", "-v0", "-c", LINES).stdout)
    assert sorted(kind for kind, _, _ in lines) == [
        "claimed",
        "claimed",
        "completed",
        "lost",
        "queued",
        "requeued",
    ]
    claimed = {attempt: worker for kind, attempt, worker in lines if kind == "claimed"}
    assert [claimed[number].partition("@")[0] for number in (1, 2)] == ["one", "two"]
    assert [each["id"] for each in site.get("/api/viewings/")["results"]] == [asked["id"]]
    sheets = sorted(file.name for file in (site.data / "viewings").iterdir())
    assert sheets == [f"{asked['id']}-2.png"]
    assert site.read(f"{path}sheet/") == (site.data / "viewings" / sheets[0]).read_bytes()


SAYS = """
import sys, warnings
from generators.training import loop
inner = loop.train
def train(*args, **kwargs):
    print("printed by a library")
    warnings.warn("a library warns", stacklevel=1)
    print("to standard error", file=sys.stderr)
    return inner(*args, **kwargs)
loop.train = train
"""


def test_the_log_of_a_killed_attempt_is_there_and_the_next_has_its_own(
    site: Site, tmp_path: Path
) -> None:
    """What code prints, to standard error as well, and what it warns of is in the log."""
    (tmp_path / "talkative.py").write_text(f"from config.celery import app\n{SAYS}")
    site.env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    site.start_web()
    doomed = site.start_worker(app="talkative")
    experiment = submit(site, images=30_000, algorithms=[], entries=[NOISY])
    run = run_of(site, experiment)["id"]
    wait_until(
        lambda: site.get(f"/api/runs/{run}/")["images_seen"] > 0, seconds=60, what="training"
    )

    site.kill(doomed)
    first = site.data / "logs" / "run" / f"{run}-1.txt"
    killed = first.read_text()
    site.start_worker("two")
    wait_for_status(site, experiment, "completed", seconds=240)

    for said in ("printed by a library", "a library warns", "to standard error"):
        assert said in killed, json.dumps(killed)
    assert "attempt 1 on one@" in killed and "ended" not in killed
    assert first.read_text() == killed
    second = (site.data / "logs" / "run" / f"{run}-2.txt").read_text()
    assert "attempt 2 on two@" in second and second.endswith(f"run {run}: ended\n")
    assert "printed by a library" not in second
