"""Algorithms of other packages run through the whole platform: nothing here knows of them.

One is a toy, the other the example of .github/CONTRIBUTING.md with a family of its own.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.plugins import install
from tests.site import ROOT, Site
from tests.terminal.test_demo import read_board
from tests.test_contributing import install_examples

ENTRY_POINTS = "[trilemma.algorithms]\nvae.toy = toy_vae.spec:SPEC\n"
WHAT_THE_SITE_SAYS = """
import json, sys
import django
django.setup()
from django.test import Client
from accounts.models import User
admin = Client(SERVER_NAME="localhost")
admin.force_login(User.objects.create_superuser("root"))
form = admin.get("/submit/experiment/?entry=vae.toy:tiny")
schema = admin.get("/api/schema/?format=json").json()["components"]["schemas"]
print(json.dumps([form.content.decode(), schema, "torch" in sys.modules]))
"""


@pytest.fixture
def toy_site(prepared_data: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a prepared site in whose processes both packages are installed."""
    data, packages = tmp_path / "site", tmp_path / "packages"
    shutil.copytree(prepared_data, data)
    install_examples(packages)
    install(packages, "toy-vae", {}, ENTRY_POINTS)
    shutil.copytree(ROOT / "tests" / "toy_vae", packages / "toy_vae")
    path = [str(ROOT / "platform"), str(ROOT), str(packages)]
    with closing(Site(data, PYTHONPATH=os.pathsep.join(path))) as site:
        yield site


@pytest.mark.slow  # the guide's examples take the same way in tests/test_contributing.py
def test_they_are_listed_offered_trained_sampled_and_scored(toy_site: Site) -> None:
    site = toy_site
    assert "vae.toy" in site.run("-m", "generators", "list").stdout

    site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"
    form, schema, loaded_torch = json.loads(site.run("-c", WHAT_THE_SITE_SAYS).stdout)
    assert 'name="entries.0.config.directions" value="" placeholder="5"' in form
    assert '<option value="vae.toy">Toy VAE</option>' in form
    assert "vae.toy" in schema["AlgorithmEnum"]["enum"]
    configs = schema["EntrySubmission"]["properties"]["config"]["anyOf"]
    (config,) = [found for found in configs if found["title"] == "vae.toy"]
    assert config["properties"]["directions"]["maximum"] == 256
    assert not loaded_torch

    board = site.data / "board.json"
    site.manage("run_experiment", str(experiment(site)), "--json", str(board))

    rows = {row["algorithm"]: row for row in read_board(board) if not row["control"]}
    row, example = rows["vae.toy"], rows["flows.pixel"]
    assert (row["entry"], row["sampler"], row["seeds_scored"]) == ("Toy VAE", "direct", 1)
    assert row["FD[classifier]"] > 0
    assert row["parameters"] == (5 + 1) * 64
    assert (example["entry"], example["family"]) == ("Pixel flow", "flows")
    assert example["seeds_scored"] == 1
    assert example["FD[classifier]"] > 0


def experiment(site: Site) -> Path:
    """Write an experiment with the toy, and return its file."""
    path = site.data / "experiment.json"
    data = {
        "name": "toys",
        "dataset": "digits",
        "protocols": ["classifier-test"],
        "budget": {"images": 2_000},
        "entries": [
            {"algorithm": "vae.toy", "preset": "tiny", "config": {"conditional": False}},
            {"algorithm": "flows.pixel", "preset": "tiny"},
        ],
    }
    path.write_text(json.dumps(data))
    return path
