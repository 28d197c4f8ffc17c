"""A metric and an extractor of another package through the platform, and after it was removed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.site import ROOT, Site
from tests.terminal.test_demo import read_board
from tests.toy_packages import install_scoring

# What the site says of the protocol, on every page and in every export that shows it.
WHAT_THE_SITE_SAYS = """
import json, sys
import django
django.setup()
from django.test import Client
from accounts.models import User
from catalog.models import Protocol
from experiments.models import Evaluation, MetricValue, Run
protocol = Protocol.objects.get(extractor="toy-brightness")
evaluation = Evaluation.objects.filter(protocol=protocol).first()
value = MetricValue.objects.filter(evaluation=evaluation, metric="toy_gap").get()
User.objects.filter(username="root").delete()
admin = Client(SERVER_NAME="localhost", headers={"accept": "*/*"})
admin.force_login(User.objects.create_superuser("root"))
paths = {
    "board": f"/leaderboards/{protocol.fingerprint}/?columns=all&sort=-toy_gap",
    "csv": f"/api/leaderboards/{protocol.fingerprint}/?format=csv",
    "json": f"/api/leaderboards/{protocol.fingerprint}/?format=json&sort=toy_outside",
    "protocol": f"/api/protocols/{protocol.fingerprint}/?format=json",
    "evaluation": f"/api/evaluations/{evaluation.pk}/?format=json",
    "run": f"/runs/{Run.objects.first().pk}/",
    "datasets": "/datasets/",
    "dataset": "/datasets/digits/",
    "box": f"/protocols/{protocol.fingerprint}/",
    "home": "/",
    "experiment": f"/experiments/{evaluation.sample_set.entry.experiment_id}/",
    "form": "/submit/experiment/",
    "row": f"/admin/catalog/protocol/{protocol.pk}/change/",
    "rows": "/admin/catalog/protocol/",
    "scored": f"/admin/experiments/evaluation/{evaluation.pk}/change/",
    "schema": "/api/schema/?format=json",
}
answers = {name: admin.get(path) for name, path in paths.items()}
print(json.dumps({
    "status": {name: answer.status_code for name, answer in answers.items()},
    "texts": {name: b"".join(answer).decode() for name, answer in answers.items()},
    "refusal": protocol.refusal,
    "heavy": sorted({"torch", "numpy"} & set(sys.modules)),
}))
"""


@pytest.fixture
def toy_site(prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a prepared site in whose processes the toy's package is installed."""
    data, packages = tmp_path / "site", install_scoring(tmp_path / "packages")
    shutil.copytree(prepared_data, data)
    path = [str(ROOT / "platform"), str(ROOT), str(packages)]
    with closing(Site(data, PYTHONPATH=os.pathsep.join(path))) as site:
        site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"
        yield site


def what_the_site_says(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.run("-c", WHAT_THE_SITE_SAYS).stdout)
    assert found["status"] == dict.fromkeys(found["status"], 200)
    assert found["heavy"] == []
    return found


@pytest.mark.slow
def test_a_metric_is_scored_shown_and_exported_and_its_board_stays_when_it_goes(
    toy_site: Site, tmp_path: Path
) -> None:
    site, board = toy_site, toy_site.data / "board.json"
    metrics = ("--metrics", "fd,toy_gap,toy_outside", "--num-images", "100")
    registered = site.manage(
        "register_protocol", "digits", "--extractor", "toy-brightness", *metrics
    )
    assert "FD[toy-brightness], TG[toy-brightness], TO[toy-brightness]" in registered.stdout

    fingerprint = registered.stdout.split()[-1]
    site.manage("run_experiment", str(experiment(site, fingerprint)), "--json", str(board))
    (row,) = [row for row in read_board(board) if row["entry"] == "contender"]
    installed = what_the_site_says(site)
    shutil.rmtree(tmp_path / "packages")
    removed = what_the_site_says(site)

    assert row["TG[toy-brightness]"] > 0
    assert installed["refusal"] == ""
    assert "TG[toy-brightness]&nbsp;" in installed["texts"]["board"]
    assert "toy_gap" in installed["texts"]["schema"]
    needed = "needs the package toy-scoring 0.1, which is not installed"
    assert removed["refusal"] == f"metrics.toy_gap: {needed}"
    assert "toy_gap[toy-brightness]&nbsp;" in removed["texts"]["board"]
    assert (
        "A metric of the package toy-scoring, which is not installed." in removed["texts"]["board"]
    )
    same_board(installed["texts"], removed["texts"])


def same_board(before: dict[str, str], after: dict[str, str]) -> None:
    """Check that a board without the package has the numbers and ranks it had with it."""
    names = {"TG[": "toy_gap[", "TO[": "toy_outside["}
    for new, old in names.items():
        before["csv"] = before["csv"].replace(new, old)
    assert after["csv"] == before["csv"]

    (outside,) = [c for c in json.loads(after["json"])["columns"] if c["key"] == "toy_outside"]
    assert (outside["higher_is_better"], outside["corner"]) == (True, "memorisation")
    values = {v["metric"]: v["value"] for v in json.loads(after["evaluation"])["values"]}
    assert values == {v["metric"]: v["value"] for v in json.loads(before["evaluation"])["values"]}
    assert {metric["name"] for metric in json.loads(after["protocol"])["metrics"]} == set(values)


def experiment(site: Site, fingerprint: str) -> Path:
    """Write an experiment with one small contender, and return its file."""
    path = site.data / "experiment.json"
    entry = {"label": "contender", "algorithm": "vae.conv", "preset": "tiny"}
    data = {
        "name": "toys",
        "dataset": "digits",
        "protocols": [fingerprint],
        "budget": {"images": 500},
        "entries": [entry],
    }
    path.write_text(json.dumps(data))
    return path
