"""How long a job waits for an idle worker: from the end of its submission to the claim.

Real processes: a web server that submits, a worker that claims; SQLite and message files as on a
laptop, or Redis and, where it is installed, PostgreSQL. `pytest tests/benchmarks/test_queues.py`
prints all waits and how loaded the machine was.
"""

import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import prepare
from tests.servers import postgres_program, postgres_server, redis_server, wait_until
from tests.site import Site

TRIALS = 20
BARS = {"files": 0.4, "redis": 0.05}  # seconds at the median
REST = 3.0  # seconds in which a worker answers the bells of what was cancelled
FIRST = 4.0  # seconds that no first claim takes
Report = Callable[[str], None]


@pytest.fixture(params=["files", "redis"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "redis" and shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    return str(request.param)


@pytest.fixture
def site(kind: str, prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a served site without a worker."""
    data = shutil.copytree(prepared_data, tmp_path / "site")
    with ExitStack() as stack:
        variables = {}
        if kind == "redis":
            variables["BROKER_URL"] = stack.enter_context(redis_server())
            if postgres_program("postgres"):
                variables["DATABASE_URL"] = stack.enter_context(postgres_server())
        site = stack.enter_context(closing(Site(data, **variables)))
        if "DATABASE_URL" in variables:
            shutil.rmtree(data)
            data.mkdir()
            prepare(site)
        site.start_web()
        yield site


def submit(site: Site, token: str) -> int:
    """Submit a comparison with a run too long to end, and return its id."""
    protocol = site.get("/api/v1/protocols/")["results"][0]["fingerprint"]
    data = {
        "name": f"waits {time.time()}",
        "dataset": "digits",
        "protocols": [protocol],
        "budget": {"images": 10**9},
        "entries": [{"algorithm": "gan.sngan", "preset": "tiny"}],
    }
    return int(site.post("/api/v1/experiments/", token=token, body=data)["id"])


def have_claimed(site: Site, token: str) -> int:
    """Submit, wait for a claim, cancel the rest; return when the worker is idle again."""
    experiment = submit(site, token)

    def is_claimed() -> bool:
        kinds = ("runs", "samplesets")
        found = (site.get(f"/api/v1/{kind}/?experiment={experiment}")["results"] for kind in kinds)
        return any(job["started_at"] for part in found for job in part)

    wait_until(is_claimed, seconds=60, what="a claim")

    def is_over() -> bool:
        site.post(f"/api/v1/experiments/{experiment}/cancel/", token=token)
        status = site.get(f"/api/v1/experiments/{experiment}/")["status"]
        return status not in ("queued", "running", "cancelling")

    wait_until(is_over, seconds=120, what="its end")
    time.sleep(REST)
    return experiment


WAITS = """
import os, json, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
from django.db.models import Min
from experiments.models import Run, SampleSet
waits = []
for pk in {keys}:
    found = [
        kind.objects.filter(entry__experiment=pk).aggregate(b=Min("rung_at"), e=Min("started_at"))
        for kind in (Run, SampleSet)
    ]
    end = min(each["e"] for each in found if each["e"])
    waits.append((end - min(each["b"] for each in found)).total_seconds())
print(json.dumps(waits))
"""


def waits_of(site: Site, experiments: Sequence[int]) -> list[float]:
    """Return the seconds between each experiment's commit and the first claim of its jobs.

    By the database's clock: the bell is rung as soon as the submission is committed.
    """
    done = site.run("-c", WAITS.format(keys=list(experiments)))
    found: list[float] = json.loads(done.stdout)
    return found


def wait_until_ready(site: Site, name: str) -> None:
    def is_here() -> bool:
        found = site.get("/api/v1/workers/")["results"]
        return any(each["name"].startswith(f"{name}@") for each in found)

    wait_until(is_here, seconds=120, what="the worker")


def told(what: str, waits: Sequence[float]) -> str:
    every = ", ".join(f"{1000 * wait:.0f}" for wait in sorted(waits))
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    median = 1000 * statistics.median(waits)
    return f"{what}: median {median:.0f} ms of {every} ms; load {load}, {os.cpu_count()} cores"


def test_an_idle_worker_claims_at_once(site: Site, kind: str, report: Report) -> None:
    token = site.make_token()
    site.start_worker("one")
    wait_until_ready(site, "one")
    have_claimed(site, token)  # loads what all others find loaded

    waits = waits_of(site, [have_claimed(site, token) for _ in range(TRIALS)])

    report(told(f"submission to claim, {kind}", waits))
    assert statistics.median(waits) <= BARS[kind]


def test_a_worker_that_has_just_started_claims_at_once(
    site: Site, kind: str, report: Report
) -> None:
    token = site.make_token()
    experiments = []
    for trial in range(TRIALS):
        worker = site.start_worker(f"w{trial}")
        wait_until_ready(site, f"w{trial}")
        experiments.append(have_claimed(site, token))
        site.kill(worker)

    waits = waits_of(site, experiments)
    report(told(f"submission to the first claim of a new worker, {kind}", waits))
    assert max(waits) < FIRST
