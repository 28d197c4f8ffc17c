"""Real workers, killed and cancelled: each job runs once, nothing is lost, nothing doubled."""

import json
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.servers import wait_until
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


def submit(
    site: Site,
    *,
    images: int,
    algorithms: list[str],
    entries: Sequence[Mapping[str, Any]] = (),
    seeds: int = 1,
) -> int:
    """Submit a comparison as a person would, and return its id."""
    protocol = site.get("/api/protocols/")["results"][0]["fingerprint"]
    data = {
        "name": f"test {time.time()}",
        "dataset": "digits",
        "protocols": [protocol],
        "budget": {"images": images},
        "seeds": seeds,
        "entries": [*entries, *({"algorithm": algorithm} for algorithm in algorithms)],
    }
    path = site.data / "experiment.json"
    path.write_text(json.dumps(data))
    site.manage("submit", str(path))
    return int(site.get("/api/experiments/")["results"][0]["id"])


def jobs(site: Site, experiment: int) -> list[dict[str, Any]]:
    return [
        job
        for kind in ("runs", "samplesets", "evaluations")
        for job in site.get(f"/api/{kind}/?experiment={experiment}")["results"]
    ]


def run_of(site: Site, experiment: int) -> dict[str, Any]:
    """Return the experiment's only run."""
    (run,) = site.get(f"/api/runs/?experiment={experiment}")["results"]
    assert isinstance(run, dict)
    return run


def wait_for_status(site: Site, experiment: int, status: str, *, seconds: float = 120) -> None:
    def arrived() -> bool:
        return bool(site.get(f"/api/experiments/{experiment}/")["status"] == status)

    try:
        wait_until(arrived, seconds=seconds, what=f"experiment {status}")
    except AssertionError:
        raise AssertionError(f"{jobs(site, experiment)}\n{site.log()}") from None


@pytest.fixture(scope="module")
def two_at_work(prepared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield a served site with two workers, for the tests that leave them alive and idle."""
    data = shutil.copytree(prepared_data, tmp_path_factory.mktemp("two") / "site")
    with closing(Site(data)) as site:
        site.start_web()
        site.start_worker("one")
        site.start_worker("two")
        yield site


def test_two_workers_do_every_job_exactly_once(two_at_work: Site) -> None:
    site = two_at_work

    experiment = submit(site, images=600, algorithms=["gan.sngan", "vae.conv"], seeds=3)
    wait_for_status(site, experiment, "completed")

    done = jobs(site, experiment)
    assert len(done) == 6 + 10 + 10  # runs; a sample set each and four of controls; evaluations
    assert {job["status"] for job in done} == {"completed"}
    assert {job["attempt"] for job in done} == {1}
    assert len({job["worker"] for job in done}) == 2
    logs = [path.read_text() for path in site.data.glob("process-*.log")]
    assert not any("database is locked" in log for log in logs)
    assert list((site.data / "broker" / "queue").glob("*.celeryev.msg")) == []


def checkpoints(site: Site, run: int) -> list[str]:
    """Return the checkpoint lines of a run's timeline: "6,720 images seen"."""
    events = site.get(f"/api/runs/{run}/events/")
    return [event["message"] for event in events if event["kind"] == "checkpoint"]


@pytest.mark.faults  # beside those of tests/faults, on SQLite and message files
def test_a_killed_worker_loses_only_what_came_after_the_last_checkpoint(site: Site) -> None:
    site.start_web()
    worker = site.start_worker()
    experiment = submit(site, images=40_000, algorithms=["vae.conv"])
    run_id = run_of(site, experiment)["id"]
    wait_until(lambda: len(checkpoints(site, run_id)) >= 2, seconds=60, what="two checkpoints")

    site.kill(worker)
    before = checkpoints(site, run_id)
    assert run_of(site, experiment)["status"] == "running"
    site.start_worker()
    wait_for_status(site, experiment, "completed")

    run = run_of(site, experiment)
    assert (run["attempt"], run["restarts"], run["images_seen"]) == (2, 1, 40_000)
    assert run["environment"]["resumed"] == "exactly"
    after = checkpoints(site, run_id)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) > len(before)
    assert {job["status"] for job in jobs(site, experiment)} == {"completed"}


ORDER_STOP = "from jobs.models import Worker; Worker.objects.update(order='stop')"


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_hands_its_training_back_at_once(site: Site) -> None:
    """The order ends it by SIGTERM; each of its processes has had a GPU of its own."""
    site.start_web()
    worker = site.start_worker(concurrency=2, env={"CUDA_VISIBLE_DEVICES": "5,7"})
    experiment = submit(site, images=30_000, algorithms=["vae.conv"])
    run = f"/api/runs/{run_of(site, experiment)['id']}/"
    wait_until(lambda: site.get(run)["images_seen"] > 0, seconds=60, what="training")

    site.manage("shell", "-v0", "-c", ORDER_STOP)
    worker.wait(timeout=60)
    handed_back = site.get(run)
    site.start_worker("two")
    wait_for_status(site, experiment, "completed")

    assert (handed_back["status"], handed_back["restarts"]) == ("queued", 0)
    done = run_of(site, experiment)
    assert (done["attempt"], done["restarts"], done["images_seen"]) == (2, 0, 30_000)
    assert done["environment"]["resumed"] == "exactly"
    log = (site.data / "process-1.log").read_text()
    for number, gpu in enumerate((5, 7)):
        assert f"process {number} has the GPU {gpu}" in log


HANGS = """
import time
from experiments.models import Run
from jobs.execution import execute
execute(Run, {pk}, {{Run: lambda *_: time.sleep(600)}})
"""


@pytest.mark.slow
def test_work_that_hangs_ends_its_process_and_is_queued_again(site: Site) -> None:
    site.env |= {"STALL_SECONDS": "10", "LEASE_SECONDS": "6"}
    site.start_web()
    experiment = submit(site, images=600, algorithms=["vae.conv"])
    run = run_of(site, experiment)["id"]

    hung = site.run("manage.py", "shell", "-c", HANGS.format(pk=run), check=False)
    site.start_worker()
    wait_for_status(site, experiment, "completed")

    assert hung.returncode == -signal.SIGKILL
    done = run_of(site, experiment)
    assert (done["attempt"], done["restarts"]) == (2, 1)
    events = [event["message"] for event in site.get(f"/api/runs/{run}/events/")]
    assert "no progress for 10 s, its process was ended" in events


def test_a_cancelled_training_stops_within_seconds_and_can_be_retried(two_at_work: Site) -> None:
    site = two_at_work
    token = site.make_token()
    experiment = submit(site, images=30_000_000, algorithms=["vae.conv"])
    run = f"/api/runs/{run_of(site, experiment)['id']}/"
    wait_until(lambda: site.get(run)["images_seen"] > 0, seconds=60, what="training")

    site.post(f"{run}cancel/", token=token)
    wait_until(
        lambda: site.get(run)["status"] == "cancelled", seconds=10, what="the training to stop"
    )
    seen = site.get(run)["images_seen"]
    site.post(f"{run}retry/", token=token)

    wait_until(lambda: site.get(run)["images_seen"] > seen, seconds=60, what="training again")
    assert site.get(run)["attempt"] == 2
    site.post(f"{run}cancel/", token=token)


@pytest.fixture
def damaged(two_at_work: Site) -> Iterator[Site]:
    """Yield a site whose train split is damaged as long as the test goes on."""
    (train,) = (two_at_work.data / "datasets").glob("*/train.npz")
    whole = train.read_bytes()
    train.write_bytes(whole[:-1] + b"?")
    yield two_at_work
    train.write_bytes(whole)


def test_a_damaged_dataset_fails_the_run_with_the_file_and_the_reason(damaged: Site) -> None:
    site = damaged

    experiment = submit(site, images=1000, algorithms=["vae.conv"])
    wait_until(
        lambda: run_of(site, experiment)["status"] == "failed", seconds=60, what="the failure"
    )

    reason = run_of(site, experiment)["reason"]
    assert "train.npz: has sha256" in reason
    assert "was registered" in reason


@pytest.mark.faults
def test_a_message_that_was_lost_delays_a_job_but_does_not_lose_it(site: Site) -> None:
    site.start_web()
    experiment = submit(site, images=600, algorithms=["vae.conv"])
    for message in (site.data / "broker" / "queue").iterdir():
        message.unlink()

    site.start_worker()

    wait_for_status(site, experiment, "completed")


SEARCHED = {
    "algorithm": "vae.conv",
    "label": "tuned",
    "config": {"base_channels": 4},
    "search": {"options": {"learning_rate": "1e-4..1e-2 log"}, "objective": "fd", "trials": 4},
}


@pytest.mark.slow
def test_a_search_ends_with_its_best_run_again_whoever_is_killed(site: Site) -> None:
    """Two workers race to end the last trials; one of them is killed and another takes its place."""
    site.start_web()
    site.start_worker("one")
    doomed = site.start_worker("two")
    experiment = submit(site, images=3000, algorithms=[], entries=[SEARCHED], seeds=2)
    path = f"/api/evaluations/?experiment={experiment}&status=completed"
    wait_until(lambda: len(site.get(path)["results"]) >= 5, seconds=120, what="a trial's scores")

    site.kill(doomed)
    site.start_worker("three")
    wait_for_status(site, experiment, "completed", seconds=300)

    runs = site.get(f"/api/runs/?experiment={experiment}")["results"]
    assert sorted(run["seed"] for run in runs) == [0, 0, 0, 0, 2, 3]
    done = jobs(site, experiment)
    assert len(done) == 6 + 10 + 10  # four of controls
    assert {job["status"] for job in done} == {"completed"}
