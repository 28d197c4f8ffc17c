"""What a stranger makes by .github/CONTRIBUTING.md alone is listed, trained and offered.

That it comes onto a board is seen in `tests/experiments/test_plugins.py`.
"""

import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets.in_memory import write_npz
from generators.specs.registry import ALGORITHMS
from tests.plugins import install
from tests.site import ROOT, Site

PAGE = ROOT / ".github" / "CONTRIBUTING.md"
PRESENT = "## An algorithm in two files", "## A metric in three steps", "## An extractor"
WHAT_THE_SITE_SAYS = """
import json, sys
import django
django.setup()
from django.test import Client
from accounts.models import User
from catalog.models import Dataset
Dataset.objects.create(
    **dict.fromkeys(("slug", "name", "digest", "train_digest", "test_digest"), "any"),
    **dict(resolution=8, channels=1, classes=["a", "b"], train_size=100, test_size=20),
)
admin = Client(SERVER_NAME="localhost")
admin.force_login(User.objects.create_superuser("root"))
page = admin.get("/submit/experiment/?entry=flows.pixel:tiny")
colours = admin.get("/families.css").content.decode()
print(json.dumps([page.content.decode(), colours, "torch" in sys.modules]))
"""


def examples() -> dict[str, str]:
    """Return the page's files by the path that each one's first line names."""
    blocks = re.findall(r"(?ms)^```\w+\n# (\S+)\n(.*?)^```$", PAGE.read_text("utf-8"))
    assert len({path for path, _ in blocks}) == len(blocks)
    return dict(blocks)


def install_examples(folder: Path) -> Path:
    """Install the page's package as its pyproject.toml says, and return the folder for the path."""
    files = examples()
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    groups = project["entry-points"].items()
    lines = [
        line
        for group, points in groups
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    return install(folder, project["name"], files, "\n".join(lines) + "\n")


@pytest.fixture
def site(data_dir: Path, tmp_path: Path) -> Iterator[Site]:
    """Yield a site, empty, in whose processes the page's package is installed."""
    path = [str(ROOT / "platform"), str(ROOT), str(install_examples(tmp_path / "packages"))]
    with closing(Site(data_dir, PYTHONPATH=os.pathsep.join(path))) as made:
        yield made


def test_the_page_is_short_and_has_its_parts() -> None:
    lines = PAGE.read_text("utf-8").splitlines()

    assert len(lines) <= 120
    assert [line for line in lines if line in PRESENT] == list(PRESENT)
    assert "`.ci/run` is the gate" in "".join(lines)


@pytest.mark.slow
def test_the_pages_algorithm_is_listed_trained_and_sampled(site: Site, tmp_path: Path) -> None:
    listed = site.run("-m", "generators", "list")
    (record,) = json.loads(site.run("-m", "generators", "list", "flows.pixel", "--json").stdout)
    training, drawn = tmp_path / "run", tmp_path / "drawn.npz"
    train = ["--data", "digits", "--preset", "tiny", "--device", "cpu", "--out", str(training)]
    trained = site.run("-m", "generators", "train", "flows.pixel", *train)
    site.run(*f"-m generators sample {training} --num 20 --device cpu --out {drawn}".split())

    assert listed.stdout.splitlines()[-1].split() == ["flows.pixel", "Flow", "Pixel", "flow"]
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == len(ALGORITHMS) + 1
    assert record["config"][-1]["name"] == "narrowest"
    assert "done; 20,000 images seen" in trained.stdout
    with np.load(drawn) as file:
        images, labels = file["arr_0"], file["labels"]
    assert (images.shape, images.dtype, labels.max()) == ((20, 8, 8, 1), np.uint8, 9)
    edges = images[:, :, 0].mean()  # of digits in the middle of black images
    assert edges < 30 < images[:, :, 3:5].mean()


def test_the_pages_algorithm_is_in_the_form_and_its_family_has_a_colour(
    site: Site, migrated_data: Path
) -> None:
    shutil.copytree(migrated_data, site.data, dirs_exist_ok=True)
    site.env["DJANGO_SETTINGS_MODULE"] = "config.settings"

    form, colours, loaded_torch = json.loads(site.run("-c", WHAT_THE_SITE_SAYS).stdout)

    assert 'name="entries.0.config.narrowest" value="" placeholder="0.01"' in form
    assert 'name="entries.0.config.learning_rate" value="" placeholder="0.05"' in form
    assert '<optgroup label="Flow" title="invertible maps with exact likelihoods">' in form
    assert "--family-flows: #aa3377;" in colours
    assert not loaded_torch


@pytest.mark.slow
def test_the_pages_metric_and_extractor_score(site: Site, tmp_path: Path) -> None:
    for name, level in (("real", 0), ("generated", 51)):
        write_npz(tmp_path / f"{name}.npz", np.full((4, 1, 8, 8), level, np.uint8), None)
    sets = [str(tmp_path / "generated.npz"), "--reference", str(tmp_path / "real.npz")]
    names = ["--extractor", "brightness", "--metrics", "mean_gap", "--device", "cpu"]
    places = ["--cache", str(tmp_path), "--json", str(tmp_path / "result.json")]

    scored = site.run("-m", "evaluation", "score", *sets, *names, *places)

    found = json.loads((tmp_path / "result.json").read_text())
    assert "MG[brightness] ↓" in scored.stdout
    assert found["metrics"]["mean_gap"]["value"] == pytest.approx(0.2**2)
    assert found["protocol"]["metrics"]["mean_gap"]["package"]["name"] == "pixel-flow"
