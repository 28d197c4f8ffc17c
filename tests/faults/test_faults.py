"""Faults under load, in real processes: nothing is lost, nothing is done twice.

`pytest -m faults` prints a row for each: fault, trials, jobs lost, jobs doubled, seconds until work
went on. FAULT_TRIALS says how often a fault is tried; each trial is at a random moment.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from evaluation.imagesets.atomic import sha256_of
from generators.training.checkpoints import WEIGHTS
from tests.experiments.test_workers import jobs, submit, wait_for_status
from tests.faults.conftest import Fault, Outcome, Place
from tests.servers import wait_until
from tests.site import ROOT, Site

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("default::ResourceWarning"),
]

TRIALS = int(os.environ.get("FAULT_TRIALS", "4"))
ALGORITHMS = ["gan.dcgan", "vae.conv", "diffusion.ddpm"]
if TRIALS == 1:  # strikes the first training alone
    ALGORITHMS = ALGORITHMS[:1]
IMAGES = 3_000
LEASE_SECONDS = 6
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


def is_done(site: Site, experiment: int) -> bool:
    return bool(site.get(f"/api/experiments/{experiment}/")["status"] == "completed")


def beats(site: Site, experiment: int) -> set[str]:
    """Return the moments of all jobs' last beats: a new one comes from work that goes on."""
    return {job["heartbeat_at"] or "" for job in jobs(site, experiment)}


def wait_for_beat(site: Site, experiment: int, before: set[str]) -> float:
    """Return the seconds until a job beats that had not before, or all are done."""
    begin = time.monotonic()
    wait_until(
        lambda: beats(site, experiment) - before or is_done(site, experiment),
        seconds=90,
        what="work to go on",
    )
    return time.monotonic() - begin


@pytest.fixture(scope="session")
def undisturbed(the_place: Place) -> dict[str, str]:
    """Return the final weights of a comparison that nothing disturbs."""
    worker = the_place.start_worker()
    experiment = submit(the_place.site, images=IMAGES, algorithms=ALGORITHMS)
    wait_for_status(the_place.site, experiment, "completed", seconds=300)
    the_place.site.kill(worker)
    return final_weights(the_place.site, experiment)


def endure(place: Place, fault: Fault, outcome: Outcome, chance: random.Random) -> list[int]:
    """Strike TRIALS times at random moments, in comparison after comparison; return them."""
    site = place.site
    fault.begin(place)
    experiments = [submit(site, images=IMAGES, algorithms=ALGORITHMS)]
    wait_for_beat(site, experiments[0], {""})
    for _ in range(TRIALS):
        time.sleep(chance.uniform(0, 5))
        if is_done(site, experiments[-1]):
            experiments.append(submit(site, images=IMAGES, algorithms=ALGORITHMS))
            wait_for_beat(site, experiments[-1], {""})
        before = beats(site, experiments[-1])
        fault.strike(place)
        outcome.trials += 1
        outcome.recoveries.append(wait_for_beat(site, experiments[-1], before))
    return experiments


class KillWorker(Fault):
    name = "kill -9 of the worker"

    def strike(self, place: Place) -> None:
        place.site.kill(self.worker)
        self.worker = place.start_worker()


class Sleep(Fault):
    name = "SIGSTOP for longer than the lease, SIGCONT"

    def strike(self, place: Place) -> None:
        """Let another worker take over, and the sleeper wake while that one works."""
        sleeper, self.worker = self.worker, place.start_worker()
        os.killpg(sleeper.pid, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + 3)
        os.killpg(sleeper.pid, signal.SIGCONT)
        time.sleep(2)
        place.site.kill(sleeper)


class WipeRedis(Fault):
    name = "Redis wiped (FLUSHALL)"
    needs_servers = True

    def strike(self, place: Place) -> None:
        assert place.redis
        place.redis.wipe()


class RestartRedis(Fault):
    name = "Redis restarted empty"
    needs_servers = True

    def strike(self, place: Place) -> None:
        assert place.redis
        place.redis.restart()


class RestartPostgres(Fault):
    name = "PostgreSQL restarted"
    needs_servers = True

    def strike(self, place: Place) -> None:
        assert place.postgres
        place.postgres.restart()


class DamageCheckpoint(Fault):
    name = "kill -9, newest checkpoint damaged"

    def strike(self, place: Place) -> None:
        place.site.kill(self.worker)
        folders = (place.site.data / "runs").glob("*/ckpt-*")
        newest = max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
        if newest and newest.name != f"ckpt-{IMAGES}":  # whose training may have completed
            with (newest / WEIGHTS).open("r+b") as file:
                file.seek(-100, os.SEEK_END)
                file.write(b"damaged" * 10)
        self.worker = place.start_worker()


class Redeliver(Fault):
    name = "every message delivered five times"

    def strike(self, place: Place) -> None:
        place.site.manage("shell", "-v0", "-c", RING_FIVE_TIMES)


class Impatience(Fault):
    name = "Redis' visibility timeout shorter than jobs"
    needs_servers = True

    def begin(self, place: Place) -> None:
        for _ in range(2):  # one could take what the other works on
            place.start_worker(app="tests.faults.impatient")

    def strike(self, place: Place) -> None:
        time.sleep(3)


RING_FIVE_TIMES = """
from jobs import lifecycle
from jobs.models import Job
for _ in range(5):
    for kind in Job.kinds():
        for job in kind.objects.all():
            lifecycle.ring(job)
"""


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(KillWorker(), marks=pytest.mark.bounded),
        Sleep(),
        WipeRedis(),
        RestartRedis(),
        RestartPostgres(),
        DamageCheckpoint(),
        Redeliver(),
        Impatience(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_every_job_is_done_once_and_trainings_end_with_the_same_weights(
    place: Place, undisturbed: dict[str, str], fault: Fault, chance: random.Random, tell: Tell
) -> None:
    if fault.needs_servers and not (place.redis and place.postgres):
        pytest.skip("needs redis-server and PostgreSQL")
    outcome = Outcome(fault.name)

    experiments = endure(place, fault, outcome, chance)

    for experiment in experiments:
        wait_for_status(place.site, experiment, "completed", seconds=300)
        check(place.site, experiment, outcome)
        assert final_weights(place.site, experiment) == undisturbed
    tell(outcome)


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime")
def test_workers_whose_clocks_are_two_minutes_apart_leave_each_other_their_jobs(
    place: Place, tell: Tell
) -> None:
    site, outcome = place.site, Outcome("clocks a minute early and a minute late")
    clock = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    clock["LEASE_SECONDS"] = "20"  # much less than two minutes, much more than a busy machine takes
    experiments = []
    for skew in ("+60s", "-60s"):
        place.start_worker(clock | {"FAKETIME": skew})
    for _ in range(max(TRIALS // 2, 1)):
        experiments.append(submit(site, images=IMAGES, algorithms=ALGORITHMS))
        outcome.trials += 1
    for experiment in experiments:
        wait_for_status(site, experiment, "completed", seconds=300)
        check(site, experiment, outcome)

    done = [job for experiment in experiments for job in jobs(site, experiment)]
    assert {job["attempt"] for job in done} == {1}
    assert len({job["worker"] for job in done}) == 2
    tell(outcome)


def test_the_web_server_is_killed_while_people_submit(
    place: Place, chance: random.Random, tell: Tell
) -> None:
    site, outcome = place.site, Outcome("kill -9 of web while people submit")
    token = site.make_token()
    answered: list[str] = []
    refused: list[str] = []
    sent: list[str] = []
    stop = threading.Event()

    def keep_submitting() -> None:
        while not stop.is_set():
            name = f"submission {len(sent)}"
            sent.append(name)
            try:
                answer = site.post("/api/experiments/", token=token, body=body(name))
            except HTTPError as error:
                refused.append(f"{name}: {error} {error.read().decode()}")
            except (OSError, HTTPException):  # nobody listens, or no longer
                time.sleep(0.1)
            else:
                answered.append(answer["name"])

    def body(name: str) -> dict[str, object]:
        entries = [{"algorithm": algorithm} for algorithm in ALGORITHMS]
        budget = {"images": 1_000}
        return {
            "name": name,
            "dataset": "digits",
            "budget": budget,
            "entries": entries,
            **protocols,
        }

    fingerprint = site.get("/api/protocols/")["results"][0]["fingerprint"]
    protocols = {"protocols": [fingerprint], "seeds": 2}
    people = threading.Thread(target=keep_submitting)
    people.start()
    for _ in range(TRIALS):
        time.sleep(chance.uniform(0.5, 3))
        site.kill(site.web)
        begin = time.monotonic()
        site.start_web()
        outcome.recoveries.append(time.monotonic() - begin)
        outcome.trials += 1
    stop.set()
    people.join()

    stored = json.loads(site.manage("shell", "-v0", "-c", WHAT_IS_STORED).stdout)
    assert answered, refused
    assert set(stored.values()) == {2 * len(ALGORITHMS)}  # runs: none is half-written
    outcome.lost = len(set(answered) - set(stored))
    outcome.doubled = len(stored) - len(set(stored) & set(sent))
    assert (outcome.lost, outcome.doubled) == (0, 0)
    tell(outcome)


WHAT_IS_STORED = """
import json
from django.db.models import Count
from experiments.models import Experiment
counted = Experiment.objects.annotate(runs=Count("entries__runs"))
print(json.dumps(dict(counted.values_list("name", "runs"))))
"""


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
    for _ in range(TRIALS):
        submit(site, images=1_000, algorithms=["vae.conv"], seeds=25)
        outcome.trials += 25

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
