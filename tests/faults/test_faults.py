"""Faults under load, in real processes: nothing is lost, nothing is done twice.

`pytest -m faults` prints a row for each: fault, trials, jobs lost, jobs doubled, seconds until work
went on. FAULT_TRIALS says how often a fault is tried; each trial is at a random moment.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from generators.checkpoints import WEIGHTS
from generators.files import sha256_of
from tests.experiments.test_workers import jobs, submit, wait_for_status
from tests.faults.conftest import Outcome, Place, seconds_since
from tests.servers import wait_until
from tests.site import ROOT, Site

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("default::ResourceWarning"),
]

TRIALS = int(os.environ.get("FAULT_TRIALS", "4"))
ALGORITHMS = ["gan.dcgan", "vae.conv", "diffusion.ddpm"]
IMAGES = 3_000
Tell = Callable[[Outcome], None]


def final_weights(site: Site, experiment: int) -> dict[str, str]:
    """Return the sha256 of each algorithm's weights at the end of its training."""
    runs = site.get(f"/api/runs/?experiment={experiment}")["results"]
    last = f"ckpt-{IMAGES}"
    return {
        run["algorithm"]: sha256_of(site.data / f"runs/{run['id']}" / last / WEIGHTS)
        for run in runs
    }


def check(site: Site, experiment: int, outcome: Outcome) -> None:
    """Count what is lost (not completed) and doubled (completed more than once)."""
    for job in jobs(site, experiment):
        kinds = Counter(event["kind"] for event in site.get(f"{urlsplit(job['url']).path}events/"))
        outcome.lost += job["status"] != "completed"
        outcome.doubled += kinds["completed"] > 1
    assert (outcome.lost, outcome.doubled) == (0, 0), site.log()


def works(site: Site, experiment: int) -> bool:
    return any(job["status"] == "running" for job in jobs(site, experiment))


def wait_for_work(site: Site, experiment: int, outcome: Outcome) -> None:
    """Wait until a job runs again or all are done, and note how long that took."""
    begin = time.monotonic()
    wait_until(
        lambda: (
            works(site, experiment)
            or site.get(f"/api/experiments/{experiment}/")["status"] == "completed"
        ),
        seconds=60,
        what="work to go on",
    )
    outcome.recoveries.append(seconds_since(begin))


@pytest.fixture
def undisturbed(place: Place) -> dict[str, str]:
    """Return the final weights of a comparison that nothing disturbs."""
    worker = place.site.start_worker()
    experiment = submit(place.site, images=IMAGES, algorithms=ALGORITHMS)
    wait_for_status(place.site, experiment, "completed", seconds=300)
    place.site.kill(worker)
    return final_weights(place.site, experiment)


def test_kill_9_of_the_worker_at_any_moment(
    place: Place, undisturbed: dict[str, str], chance: random.Random, tell: Tell
) -> None:
    site, outcome = place.site, Outcome("kill -9 of the worker")
    experiment = submit(site, images=IMAGES, algorithms=ALGORITHMS)
    for trial in range(TRIALS):
        worker = site.start_worker(f"worker{trial}")
        wait_for_work(site, experiment, outcome)
        time.sleep(chance.uniform(0, 6))
        site.kill(worker)
        outcome.trials += 1
    site.start_worker("last")
    wait_for_status(site, experiment, "completed", seconds=300)

    check(site, experiment, outcome)
    assert final_weights(site, experiment) == undisturbed
    tell(outcome)


def test_a_worker_that_sleeps_longer_than_its_lease_writes_nothing_when_it_wakes(
    place: Place, undisturbed: dict[str, str], chance: random.Random, tell: Tell
) -> None:
    site, outcome = place.site, Outcome("SIGSTOP for longer than the lease, SIGCONT")
    experiment = submit(site, images=IMAGES, algorithms=ALGORITHMS)
    for trial in range(max(TRIALS // 2, 1)):
        sleeper = site.start_worker(f"sleeper{trial}")
        wait_for_work(site, experiment, outcome)
        time.sleep(chance.uniform(0, 4))
        os.killpg(sleeper.pid, signal.SIGSTOP)
        other = site.start_worker(f"other{trial}")
        time.sleep(9)  # the lease is 6 s
        os.killpg(sleeper.pid, signal.SIGCONT)
        time.sleep(3)
        for worker in (sleeper, other):
            site.kill(worker)
        outcome.trials += 1
    site.start_worker("last")
    wait_for_status(site, experiment, "completed", seconds=300)

    check(site, experiment, outcome)
    assert final_weights(site, experiment) == undisturbed
    tell(outcome)


@pytest.mark.parametrize("fault", ["wiped", "restarted"])
def test_redis_is_wiped_or_restarted_under_load(
    place: Place, fault: str, chance: random.Random, tell: Tell
) -> None:
    if place.redis is None:
        pytest.skip("needs redis-server and PostgreSQL")
    site, outcome = place.site, Outcome(f"Redis {fault}")
    worker = site.start_worker()
    experiment = submit(site, images=2_000, algorithms=ALGORITHMS)
    for _ in range(TRIALS):
        time.sleep(chance.uniform(0, 4))
        place.redis.wipe() if fault == "wiped" else place.redis.restart()
        outcome.trials += 1
        wait_for_work(site, experiment, outcome)
    wait_for_status(site, experiment, "completed", seconds=300)

    check(site, experiment, outcome)
    assert worker.poll() is None
    tell(outcome)


def test_postgresql_is_restarted_under_load(
    place: Place, chance: random.Random, tell: Tell
) -> None:
    if place.postgres is None:
        pytest.skip("needs redis-server and PostgreSQL")
    site, outcome = place.site, Outcome("PostgreSQL restarted")
    worker: subprocess.Popen[bytes] = site.start_worker()
    experiment = submit(site, images=2_000, algorithms=ALGORITHMS)
    for _ in range(TRIALS):
        time.sleep(chance.uniform(0, 4))
        place.postgres.restart()
        outcome.trials += 1
        wait_for_work(site, experiment, outcome)
    wait_for_status(site, experiment, "completed", seconds=300)

    check(site, experiment, outcome)
    assert worker.poll() is None
    tell(outcome)


CLAIM = """
from jobs import lifecycle, presence
worker = presence.present({name!r}, queues=["gpu"])
claimed = 0
while lifecycle.claim_next("gpu", worker):
    claimed += 1
print(claimed)
"""


def test_eight_workers_that_claim_at_once_claim_each_job_once(place: Place, tell: Tell) -> None:
    site, outcome = place.site, Outcome("eight workers claim at once")
    outcome.trials = 25 * TRIALS
    submit(site, images=1_000, algorithms=["vae.conv"], seeds=outcome.trials)

    scripts = [CLAIM.format(name=f"claimer{i}@here") for i in range(8)]
    claimers = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", script],
            cwd=ROOT,
            env=site.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for script in scripts
    ]
    claimed = sum(int(claimer.communicate()[0].split()[-1]) for claimer in claimers)

    assert claimed == outcome.trials
    tell(outcome)
