"""The page that shows prompt by prompt what each entry drew."""

from pathlib import Path

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from evaluation.imagesets.writing import grid_png
from experiments.models import Experiment, SampleSet
from tests import factories
from tests.web import html, scenes
from web.sheets import SHEET_COLUMNS, Sheet

pytestmark = pytest.mark.django_db
TEXTS = ("a red circle", "a blue circle", "two crosses")
READ = [
    {"prompt": 0, "read": "a small red circle", "follows": True},
    {"prompt": 1, "read": "a small red square", "follows": False},
    {"prompt": 2, "read": None, "follows": False},
]


@pytest.fixture
def experiment() -> Experiment:
    return factories.make_asked_experiment(*TEXTS)


def judged(experiment: Experiment) -> SampleSet:
    """Return the samples of one control, in whose first images the judge has read something."""
    sample_set = factories.make_sample_set(entry=factories.control_of(experiment))
    factories.make_evaluation(
        sample_set=sample_set, values={"unparsed": {"value": 0.3, "details": {"first": READ}}}
    )
    return sample_set


def test_each_prompt_has_what_was_drawn_and_what_was_read(
    client: Client, experiment: Experiment
) -> None:
    sample_set = judged(experiment)

    page = client.get(f"/experiments/{experiment.pk}/prompts/").content.decode()

    for text in TEXTS:
        assert text in page
    assert "✓ follows" in page and "a small red circle" in page
    assert "✗ does not follow" in page and "a small red square" in page
    assert "? unparsed" in page
    assert f"/samples/{sample_set.pk}.png" in page
    assert "not drawn yet" in page


def test_samples_that_nobody_judged_say_so(client: Client, experiment: Experiment) -> None:
    factories.make_sample_set(entry=factories.control_of(experiment))

    page = client.get(f"/experiments/{experiment.pk}/prompts/").content.decode()

    assert "not judged" in page and "follows" not in page


def test_an_experiment_without_prompts_has_no_such_page(client: Client) -> None:
    experiment = factories.make_experiment()

    assert client.get(f"/experiments/{experiment.pk}/prompts/").status_code == 404
    assert "prompts/" not in client.get(experiment.get_absolute_url()).content.decode()


def test_the_experiments_page_leads_there(client: Client, experiment: Experiment) -> None:
    page = client.get(experiment.get_absolute_url()).content.decode()

    assert f'href="/experiments/{experiment.pk}/prompts/?seed=0"' in page


def test_a_seed_that_the_experiment_does_not_have_is_refused(
    client: Client, experiment: Experiment
) -> None:
    assert client.get(f"/experiments/{experiment.pk}/prompts/?seed=9").status_code == 404


@pytest.mark.parametrize(("side", "images"), [(8, 5), (32, 23), (64, 100), (100, 11)])
def test_images_lie_where_the_sheet_draws_them(side: int, images: int, tmp_path: Path) -> None:
    levels = np.arange(images, dtype=np.uint8)
    pixels = np.broadcast_to(levels[:, None, None, None], (images, 1, side, side))
    grid_png(pixels, SHEET_COLUMNS, tmp_path / "sheet.png")
    drawn = Image.open(tmp_path / "sheet.png")

    sheet = Sheet(side, images)

    assert drawn.size == (sheet.width, sheet.height)
    for index in range(images):
        left, top, width, height = map(int, sheet.box(index).split())
        found = np.asarray(drawn.crop((left, top, left + width, top + height)))
        assert (found == index).all()


def test_the_guidance_curve_is_a_table_where_nothing_runs_scripts(client: Client) -> None:
    experiment = scenes.guided_comparison()

    page = html.get(client, f"/experiments/{experiment.pk}/prompts/")

    rows = page.one("table", class_name="guidance-table").all("tr")[1:]
    cells = [[cell.text for cell in row.all("th") + row.all("td")] for row in rows]
    assert [row[:2] for row in cells] == [
        ["SNGAN", "–"],
        ["Conv VAE", "–"],
        *(["Flow matching, Euler 16", f"w={scale}"] for scale in (0, 1, 2, 4)),
        ["Real scenes for the prompts", "ceiling"],
        ["Real scenes for other prompts", "floor"],
    ]
    assert cells[4][2:] == ["0.71 [0.66, 0.75]", "1.50 ± 0.10", "1/1"]
    assert page.one("div", class_name="chart").attributes["data-chart"] == "guidance"


def test_the_curve_is_of_the_attribute_that_is_chosen(client: Client) -> None:
    experiment = scenes.guided_comparison()
    address = f"/experiments/{experiment.pk}/prompts/"

    page = html.get(client, f"{address}?following=following_colour")

    assert "Following: colour" in page.one("table", class_name="guidance-table").text
    assert client.get(f"{address}?following=fd").status_code == 404


def test_before_anything_is_scored_the_curve_says_so(client: Client) -> None:
    experiment = factories.make_scenes_experiment()

    page = html.get(client, f"/experiments/{experiment.pk}/prompts/")

    assert "Nothing is measured yet." in page.text
    assert "not scored yet" in str([e.attributes.get("title") for e in page.all("span")])


def test_prompts_without_claims_have_no_curve(client: Client, experiment: Experiment) -> None:
    page = html.get(client, f"/experiments/{experiment.pk}/prompts/")

    assert "Following against variety" not in page.text
