"""Searches by real workers that are killed: as many trials as were asked for, none lost or doubled."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import prepare
from tests.experiments.test_workers import jobs, wait_for_status
from tests.faults.conftest import HAVE_SERVERS
from tests.servers import Postgres, Redis, wait_until
from tests.site import Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default::ResourceWarning"),
]
TRIALS = 6
SLOW_TO_ASK = "tests.faults.slow_search"
TELL = "from tests.faults.searched import tell; tell({})"
Asked = Callable[[str], int]


@pytest.fixture(scope="module", params=["SQLite and message files", "PostgreSQL and Redis"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prepared_data: Path
) -> Iterator[Site]:
    """Yield a served site without workers."""
    with ExitStack() as stack:
        data, addresses = tmp_path_factory.mktemp("searching") / "site", {}
        if request.param.startswith("PostgreSQL"):
            if not HAVE_SERVERS:
                pytest.skip("needs redis-server and PostgreSQL")
            addresses["BROKER_URL"] = stack.enter_context(closing(Redis())).address
            addresses["DATABASE_URL"] = stack.enter_context(closing(Postgres())).address
            data.mkdir()
            shutil.copytree(prepared_data / "extractors", data / "extractors")  # trained once
        else:
            shutil.copytree(prepared_data, data)
        site = Site(data, CHECKPOINT_SECONDS="1", **addresses)
        stack.enter_context(closing(site))
        if addresses:
            prepare(site)
        site.start_web()
        yield site


def search(site: Site, method: str) -> int:
    """Submit a search for the learning rate of a small VAE, and return the experiment's id."""
    looked_for = {
        "options": {"learning_rate": "1e-5..1e-2 log"},
        "objective": "fd",
        "trials": TRIALS,
        "method": method,
        "seed": 3,
    }
    entry = {"algorithm": "vae.conv", "preset": "tiny", "label": "tuned", "search": looked_for}
    data = {
        "name": f"{method} {time.time()}",
        "dataset": "digits",
        "protocols": [site.get("/api/protocols/")["results"][0]["fingerprint"]],
        "budget": {"images": 6_000},
        "seeds": 1,
        "entries": [entry],
    }
    path = site.data / "experiment.json"
    path.write_text(json.dumps(data))
    site.manage("submit", str(path))
    return int(site.get("/api/experiments/")["results"][0]["id"])


def told(site: Site, experiment: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        site.manage("shell", "-v0", "-c", TELL.format(experiment)).stdout
    )
    return found


def check(site: Site, experiment: int) -> dict[str, Any]:
    """Return what is told of a search that has ended, which is what it was to be."""
    found = told(site, experiment)
    trials = found["trials"]
    assert [each["number"] for each in trials] == list(range(1, TRIALS + 1)), site.log()
    assert {each["state"] for each in trials} == {"scored"}
    assert all(each["runs"] == [0] for each in trials)
    assert len({each["chosen"]["learning_rate"] for each in trials}) == TRIALS
    assert found["doubled"] == found["unfinished"] == []
    assert {job["status"] for job in jobs(site, experiment)} == {"completed"}
    best = min(trials, key=lambda each: float(each["value"]))
    [again] = found["again"]
    assert again["config"] == found["best"] and again["seeds"] == [1]
    assert again["config"]["learning_rate"] == best["chosen"]["learning_rate"]
    assert set(found["ranked here"]) == set(found["ranked"]) <= {0}
    assert set(found["on the board"]) == {0}
    logs = [path.read_text(errors="replace") for path in site.data.glob("process-*.log")]
    assert not any("database is locked" in log or "deadlock" in log for log in logs)
    return found


def learned(found: dict[str, Any]) -> set[bool]:
    """Return whether trials were proposed from what had ended, of those that came later."""
    return {each["learned"] for each in found["trials"] if each["learned"] is not None}


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_search_by_two_workers_outlives_one_that_is_killed_in_a_trial(
    place: Site, method: str
) -> None:
    workers = {name: place.start_worker(name) for name in (f"{method}1", f"{method}2")}
    experiment = search(place, method)

    def at_work() -> list[str]:
        found = place.get(f"/api/runs/?experiment={experiment}&status=running")["results"]
        return [run["worker"].partition("@")[0] for run in found if run["images_seen"]]

    wait_until(at_work, seconds=120, what="a trial at work")
    place.kill(workers[at_work()[0]])
    assert not told(place, experiment)["again"] and not told(place, experiment)["ranked here"]
    workers[f"{method}3"] = place.start_worker(f"{method}3")
    wait_for_status(place, experiment, "completed", seconds=500)

    found = check(place, experiment)
    for worker in workers.values():
        place.kill(worker)
    assert 2 in {attempt for each in found["trials"] for attempt in each["attempts"]}
    assert learned(found) == ({True} if method == "tpe" else set())


def test_a_worker_that_is_killed_while_it_asks_for_a_trial_leaves_the_search_as_it_was(
    place: Site,
) -> None:
    asking = place.data / "asking"
    asking.mkdir()
    asker = place.start_worker("asker", app=SLOW_TO_ASK)
    experiment = search(place, "tpe")

    wait_until(lambda: list(asking.iterdir()), seconds=300, what="a worker that asks")
    place.kill(asker)
    (mark,) = asking.iterdir()
    shutil.rmtree(asking)
    assert [each["number"] for each in told(place, experiment)["trials"]] == [1, 2]
    workers = [place.start_worker(f"after{number}") for number in range(2)]
    wait_for_status(place, experiment, "completed", seconds=500)

    found = check(place, experiment)
    for worker in workers:
        place.kill(worker)
    assert (mark.name, learned(found)) == ("3", {True})
