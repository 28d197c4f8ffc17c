"""A thousand runs of no length, beside as many bare Celery tasks: none lost, none doubled."""

import json
from contextlib import closing

import pytest
import redis

from tests.faults.conftest import Outcome, Place
from tests.faults.test_faults import Tell
from tests.servers import wait_until
from tests.site import Site

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("default::ResourceWarning")]

RUNS = 1_000
WORKERS = 4
SUBMIT = """
from catalog.models import Dataset, Protocol
from experiments import services
entries = [{{"algorithm": "vae.conv", "label": f"entry {{i}}"}} for i in range({entries})]
services.submit_data(
    {{
        "name": "load",
        "dataset": "digits",
        "protocols": [Protocol.objects.first().fingerprint],
        "budget": {{"images": 1}},
        "seeds": {seeds},
        "entries": entries,
    }},
    user=None,
)
"""
COUNT = """
import json
from django.db.models import Count, Max, Min
from experiments.models import Run
from jobs.models import JobEvent
runs = Run.objects.values("pk")
events = JobEvent.objects.filter(job_type="run", job_id__in=runs, kind="completed")
events = events.values_list("job_id")
counts = dict(events.annotate(n=Count("pk")))
ends = events.aggregate(first=Min("at"), last=Max("at"))
print(json.dumps({
    "completed": Run.objects.filter(status="completed", attempt=1).count(),
    "events": len(counts),
    "doubled": sum(n > 1 for n in counts.values()),
    "seconds": (ends["last"] - ends["first"]).total_seconds() if counts else 0,
}))
"""
SEND = """
from tests.faults.noop import bare
for _ in range({runs}):
    bare.apply_async(queue="gpu")
"""


def start_workers(place: Place) -> None:
    for _ in range(WORKERS):
        place.start_worker(app="tests.faults.noop")


def shell(site: Site, code: str) -> str:
    return site.manage("shell", "-v0", "-c", code).stdout


def counted(site: Site) -> dict[str, float]:
    found: dict[str, float] = json.loads(shell(site, COUNT))
    return found


def test_a_thousand_runs_are_drained_by_four_workers(place: Place, tell: Tell) -> None:
    if not (place.redis and place.postgres):
        pytest.skip("needs redis-server and PostgreSQL")
    site = place.site
    shell(site, SEND.format(runs=RUNS))
    start_workers(place)
    with closing(redis.Redis.from_url(place.redis.address)) as client:
        wait_until(lambda: client.llen("done") == RUNS, seconds=300, what="the bare tasks")
        times = [float(moment) for moment in client.lrange("done", 0, -1)]
    place.clear()

    shell(site, SUBMIT.format(entries=RUNS // 100, seeds=100))
    start_workers(place)
    wait_until(lambda: counted(site)["completed"] == RUNS, seconds=600, what="the runs")

    found = counted(site)
    bare, ours = max(times) - min(times), found.pop("seconds")
    assert found == {"completed": RUNS, "events": RUNS, "doubled": 0}
    more = 1000 * WORKERS * (ours - bare) / RUNS
    tell(Outcome(f"load: {WORKERS} workers, {more:.0f} ms a job more than bare Celery", RUNS))
