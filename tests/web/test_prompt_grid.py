"""The page that shows prompt by prompt what each entry drew."""

import io
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from catalog.models import PromptSet
from evaluation.imagesets.writing import grid_png, write_npz
from evaluation.protocols.prompts import PromptSet as Prompts
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


def asked_experiment(each: int = 4, entries: int = 1) -> Experiment:
    """Return an experiment with two groups of prompts and so many images of each prompt."""
    prompts = [
        {"id": text, "text": text, "group": "many" if "two" in text else "one"} for text in TEXTS
    ]
    record = {"version": 1, "prompts": prompts}
    digest = Prompts.from_record(record).digest()
    name = f"grouped-{entries}"
    facts = {"slug": name, "name": name, "record": record}
    rows = PromptSet.objects.get_or_create(digest=digest, defaults=facts)[0]
    dataset = factories.make_dataset(classes=(), texts=TEXTS)
    protocol = factories.make_protocol(dataset=dataset, prompts=rows, num_images=3 * each)
    labelled = [{"algorithm": "vae.conv", "label": f"vae {place}"} for place in range(entries)]
    return factories.make_experiment(protocols=[protocol], entries=labelled)


def test_prompts_of_one_group_are_shown_and_links_lead_to_the_others(client: Client) -> None:
    experiment = asked_experiment()
    address = f"/experiments/{experiment.pk}/prompts/"

    page = html.get(client, f"{address}?group=many")

    rows = page.one("table", class_name="prompts").all("tr")[1:]
    assert [row.all("th")[0].text for row in rows] == ["two crosses many"]
    links = {
        link.text: link.attributes for link in page.all("a") if "group" in str(link.attributes)
    }
    assert links["one"]["href"] == "?seed=0&group=one#grid-heading"
    assert client.get(f"{address}?group=none").status_code == 404


def test_a_slider_and_links_show_every_image_of_a_prompt(client: Client) -> None:
    experiment = asked_experiment()
    factories.make_sample_set(entry=factories.control_of(experiment), count=12)
    address = f"/experiments/{experiment.pk}/prompts/"

    first, third = html.get(client, address), html.get(client, f"{address}?group=one&image=3")

    slider = third.one("form", class_name="prompt-slider")
    fields = {each.attributes["name"]: each.attributes for each in slider.all("input")}
    assert (fields["image"]["max"], fields["image"]["value"]) == ("4", "3")
    assert fields["group"]["value"] == "one" and fields["seed"]["value"] == "0"
    links = [link.attributes["href"] for link in slider.all("a")]
    assert links == [f"?seed=0&group=one&image={place}#grid-heading" for place in (2, 4)]
    boxes = [
        [each.attributes["viewbox"] for each in page.all("svg", class_name="prompt-image")]
        for page in (first, third)
    ]
    sheet = Sheet(experiment.dataset.resolution, 12)
    assert boxes == [
        [sheet.box(place) for place in (0, 1, 2)],
        [sheet.box(place) for place in (6, 7)],
    ]
    assert client.get(f"{address}?image=5").status_code == 404


@pytest.mark.parametrize("channels", [1, 3])
def test_images_beyond_the_contact_sheet_are_cut_from_the_file(
    client: Client, channels: int
) -> None:
    experiment = asked_experiment(each=80)
    drawn = factories.make_sample_set(entry=factories.control_of(experiment), count=205)
    pixels = np.random.default_rng(0).integers(0, 256, (205, channels, 8, 8), np.uint8)
    drawn.sha256 = write_npz(drawn.path, pixels, None)
    drawn.save()

    page = html.get(client, f"/experiments/{experiment.pk}/prompts/?image=68")  # 201, 202, 203
    found = page.all("svg", class_name="prompt-image")
    address = f"/samples/{drawn.pk}/2.png?v={drawn.sha256[:12]}"
    answer = client.get(address)
    sheet = Image.open(io.BytesIO(answer.content))

    assert f'href="{address}"' in client.get(f"{page_of(experiment)}?image=68").content.decode()
    assert sheet.size == (80, 8) and sheet.mode == {1: "L", 3: "RGB"}[channels]
    for place, each in zip((201, 202, 203), found, strict=True):
        left, top, width, height = map(int, str(each.attributes["viewbox"]).split())
        cut = np.asarray(sheet.crop((left, top, left + width, top + height)))
        assert (cut.reshape(8, 8, channels) == pixels[place].transpose(1, 2, 0)).all()
    assert "immutable" in answer["Cache-Control"]
    assert client.get(f"/samples/{drawn.pk}/3.png").status_code == 404
    text = html.get(client, f"{page_of(experiment)}?image=70").text  # 207 and so on
    assert "it has no such image" in text
    drawn.path.write_bytes(b"no archive")
    assert client.get(f"/samples/{drawn.pk}/0.png").status_code == 404


def page_of(experiment: Experiment) -> str:
    return f"/experiments/{experiment.pk}/prompts/"


def test_the_first_column_has_real_images_for_the_prompts(client: Client) -> None:
    experiment = scenes.guided_comparison()

    page = html.get(client, f"/experiments/{experiment.pk}/prompts/")

    heads = [each.text for each in page.one("table", class_name="prompts").all("th")]
    assert heads[1].startswith("Real scenes for the prompts")


def test_samples_from_elsewhere_have_a_column(client: Client) -> None:
    experiment = factories.make_asked_experiment("a red circle", "a blue circle")
    entry = factories.make_external(experiment, system="DALL-E 3")
    drawn = entry.sample_sets.get()

    page = html.get(client, f"/experiments/{experiment.pk}/prompts/")

    table = page.one("table", class_name="prompts")
    place = [each.text.split()[0] for each in table.all("th", scope="col")].index("DALL-E")
    shown = [row.all("td")[place - 1].all("image")[0] for row in table.one("tbody").all("tr")]
    assert len(shown) == 2
    assert all(f"/samples/{drawn.pk}.png" in each.attributes["href"] for each in shown)


def test_more_systems_are_no_more_queries(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    one, many = asked_experiment(entries=1), asked_experiment(entries=5)
    for experiment in (one, many):
        for entry in experiment.entries.all():
            factories.make_sample_set(entry=entry)
    client.get(f"/experiments/{one.pk}/prompts/")
    with CaptureQueriesContext(connection) as few:
        client.get(f"/experiments/{one.pk}/prompts/")

    with django_assert_num_queries(len(few)):
        client.get(f"/experiments/{many.pk}/prompts/")


def test_prompts_are_read_page_by_page(client: Client) -> None:
    experiment = factories.make_asked_experiment(*(f"circle {place}" for place in range(53)))
    address = f"/experiments/{experiment.pk}/prompts/"

    first = html.get(client, address)
    after = first.one("p", class_name="pages-shown").one("a").attributes["href"]
    second = html.get(client, address + after.partition("#")[0])

    rows = [page.one("table", class_name="prompts").all("tr")[1:] for page in (first, second)]
    assert [len(each) for each in rows] == [50, 3]
    assert rows[1][0].one("th").text.startswith("circle 50")
    assert second.one("p", class_name="pages-shown").text.startswith("Prompts 51–53 of 53")
    for page in ("0", "3", "x"):
        assert client.get(address, {"page": page}).status_code == 404


def test_many_entries_are_read_page_by_page_beside_real_images(client: Client) -> None:
    experiment = asked_experiment(entries=12)
    for entry in experiment.entries.all():
        factories.make_sample_set(entry=entry)
    address = page_of(experiment)

    first = html.get(client, f"{address}?group=one")
    after = first.one("p", class_name="pages-shown").one("a").attributes["href"]
    second = html.get(client, address + after.partition("#")[0])

    heads = [
        [each.text for each in page.one("table", class_name="prompts").all("th", scope="col")][1:]
        for page in (first, second)
    ]
    names = [[name.split(" direct")[0] for name in page] for page in heads]
    entries = list(experiment.entries.all())
    real = next(entry.label for entry in entries if entry == factories.control_of(experiment))
    others = [entry.label for entry in entries if entry.label != real]
    assert [page[0].startswith(real) for page in names] == [True, True]
    assert len(others) > 12
    for name, label in zip([*names[0][1:], *names[1][1:]], others, strict=True):
        assert name.startswith(label)
    assert len(names[0]) == 9
    assert second.one("p", class_name="pages-shown").text.startswith(f"Systems 9–{len(others)} of")
    assert "group=one" in str(after)
    assert client.get(address, {"columns": "3"}).status_code == 404
