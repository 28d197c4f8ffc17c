"""The home page: one picture of what was measured, samples beside boards, and what to do next."""

from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Role, User
from experiments.models import Experiment
from leaderboards.scores import judging
from tests import factories
from tests.web import html, scenes
from tests.web.test_admission import RECORD
from web.front import picture as drawing

_numbers = count()
MOST_QUERIES = 30  # as for every page: tests.config.test_many


def next_steps(page: html.Element) -> list[str]:
    return [step.one("a").text for step in page.all("li", class_name="next-step")]


@pytest.mark.django_db
def test_an_empty_site_tells_the_trilemma_in_one_picture(client: Client) -> None:
    page = html.get(client, "/")

    idea = page.one("svg", class_name="picture")
    assert "GANs lie between quality and speed" in idea.attributes["aria-label"]
    assert {"GANs", "VAEs", "Diffusion models"} <= {text.text for text in idea.all("text")}
    assert next_steps(page) == [
        "Come to a first board",
        "What are GANs, VAEs, diffusion?",
        "Sign in",
    ]


@pytest.mark.django_db
def test_steps_to_a_first_board_lead_to_forms_for_who_may_fill_them_in(
    client: Client, ada: User
) -> None:
    dataset = factories.make_dataset()
    steps = html.get(client, "/").one("ol", class_name="steps")

    links = [a.attributes["href"] for a in steps.all("a")]

    assert links == [f"/submit/protocol/?dataset={dataset.slug}", "/submit/experiment/"]
    assert "createsuperuser" not in steps.text
    client.logout()
    assert [a.text for a in html.get(client, "/").one("ol", class_name="steps").all("a")] == [
        "Sign in and fill in the form"
    ]


@pytest.mark.django_db
def test_the_picture_shows_what_was_measured_on_the_newest_board(client: Client) -> None:
    scene = scenes.finished_comparison()
    factories.make_experiment(protocols=[factories.make_protocol()])  # newer, with no value

    page = html.get(client, "/")

    marks = page.all("g", class_name="picture-mark")
    families = [mark.attributes["class"].rpartition("family-")[2] for mark in marks]
    assert sorted(families) == ["control", "diffusion", "diffusion", "gan", "vae", "vae"]
    assert "images/s" in marks[-1].one("title").text
    figure = page.one("figure", class_name="hero-figure")
    assert figure.one("figcaption").one("a").text == scene.protocol.board_name


@pytest.mark.django_db
def test_a_board_whose_protocol_failed_its_test_is_not_drawn(client: Client) -> None:
    protocol = scenes.finished_comparison(seeds=1).protocol
    failed = {"passed": False, "reasons": ["blur"], "unranked": {"fd": "blur"}}
    protocol.facts |= {"admission": {**RECORD, **failed}}
    protocol.save()

    assert html.get(client, "/").all("svg", class_name="picture-idea")


@pytest.mark.django_db
def test_a_board_shows_real_images_and_samples_of_each_family(client: Client) -> None:
    scenes.finished_comparison(seeds=1)

    sheets = html.get(client, "/").one("ul", class_name="board-sheets").all("li")

    assert sheets[0].one("span").text == "real images"
    shown = {each.one("span").attributes["class"].rpartition("family-")[2] for each in sheets}
    assert shown == {"control", "gan", "vae", "diffusion"}
    for each in sheets:
        picture = client.get(each.one("img").attributes["src"])
        assert picture.status_code == 200
        picture.close()


@pytest.mark.django_db
def test_who_is_new_is_led_to_a_form_that_is_filled_in(client: Client, ada: User) -> None:
    scene = scenes.finished_comparison(seeds=1)

    page = html.get(client, "/")

    assert next_steps(page) == [
        "Read the newest board",
        "Compare three families yourself",
        "Bring your own images",
        "Score your own model",
        "Which model for my data?",
    ]
    assert not page.all("ul", class_name="own")
    (link,) = [a for a in page.all("a") if a.text == "Compare three families yourself"]
    form = html.get(client, link.attributes["href"])
    assert form.one("option", value=scene.experiment.dataset.slug).attributes.get("selected") == ""
    for step in page.all("li", class_name="next-step"):
        assert client.get(step.one("a").attributes["href"]).status_code == 200


@pytest.mark.django_db
def test_who_comes_back_sees_own_experiments_and_how_to_go_on(client: Client, ada: User) -> None:
    done, live = scenes.finished_comparison(seeds=1), scenes.running_comparison()
    factories.make_experiment(name="of somebody else")
    Experiment.objects.filter(pk__in=[done.experiment.pk, live.experiment.pk]).update(
        created_by=ada
    )

    page = html.get(client, "/")

    lines = page.all("li", class_name="own-line")
    assert [line.one("span", class_name="own-name").text for line in lines] == [
        "Still running",
        "GAN vs VAE vs diffusion",
    ]
    assert "1 failed" in lines[0].text and "See what failed" in lines[0].text
    assert "Look at its board" in lines[1].text
    assert next_steps(page)[0] == "Clone and edit the last one"
    for step in page.all("li", class_name="next-step"):
        assert client.get(step.one("a").attributes["href"]).status_code == 200


@pytest.mark.django_db
def test_a_viewer_is_not_asked_to_submit(client: Client) -> None:
    scenes.finished_comparison(seeds=1)
    client.force_login(factories.make_user(role=Role.VIEWER))

    assert next_steps(html.get(client, "/")) == [
        "Read the newest board",
        "Which model for my data?",
        "What are GANs, VAEs, diffusion?",
    ]


@pytest.mark.slow
@pytest.mark.django_db
def test_more_boards_and_experiments_ask_no_more_questions(client: Client, ada: User) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get("/")
        return len(queries)

    def another(number: int) -> None:
        scene = scenes.finished_comparison(seeds=1)
        mine = Experiment.objects.filter(pk=scene.experiment.pk)
        mine.update(created_by=ada, name=f"number {number}")
        judging.judge(scene.protocol)

    another(0)
    few = asked()
    for number in (1, 2, 3):
        another(number)

    assert asked() == few <= MOST_QUERIES


# --- the drawing ------------------------------------------------------------------------------


def point(quality: float, coverage: float, **more: Any) -> dict[str, Any]:
    figures = {
        "quality": {"value": quality, "low": quality * 0.9, "high": quality * 1.1},
        "coverage": {"value": coverage, "low": None, "high": None},
    }
    rest = {
        "key": f"{next(_numbers)}",
        "label": "VAE",
        "family": "vae",
        "family_label": "VAE",
        "images_per_second": 10.0,
    }
    return {**figures, **rest, **more}


def chart(*points: dict[str, Any], log: bool = False) -> dict[str, Any]:
    return {
        "quality": {"label": "FD ↓", "higher_is_better": False},
        "coverage": {"label": "recall ↑", "higher_is_better": True},
        "points": list(points),
        "log": log,
        "joined": [[each["key"] for each in points]] if len(points) > 1 else [],
    }


def test_better_is_up_and_to_the_right_and_faster_is_larger() -> None:
    drawn = drawing.picture(
        chart(point(9.0, 0.2, images_per_second=1000.0), point(3.0, 0.8, images_per_second=1.0))
    )

    assert drawn is not None
    worse, better = drawn.marks
    assert better.y < worse.y and better.x > worse.x and worse.radius > better.radius
    assert better.upright[0] < better.y < better.upright[1]
    assert better.across == (better.x, better.x)  # no interval is known
    assert [text for _, text in drawn.across] == sorted(text for _, text in drawn.across)


def test_a_logarithmic_axis_has_no_place_for_zero() -> None:
    drawn = drawing.picture(chart(point(0.0, 0.5), point(1.0, 0.5), point(100.0, 0.5), log=True))

    assert drawn is not None and len(drawn.marks) == 2
    assert [text for _, text in drawn.upright][:3] == ["1", "10", "100"]
    assert drawing.picture(chart(point(0.0, 0.5), log=True)) is None


@pytest.mark.parametrize("points", [[(4.0, 0.5)], [(4.0, 0.5), (4.0, 0.5)], [(0.0, 0.0)]])
def test_equal_values_have_a_place_too(points: list[tuple[float, float]]) -> None:
    drawn = drawing.picture(chart(*(point(*pair) for pair in points)))

    assert drawn is not None
    for mark in drawn.marks:
        assert drawing.LEFT < mark.x < drawing.RIGHT and drawing.TOP < mark.y < drawing.BOTTOM


def test_labels_cover_no_mark_no_interval_and_no_other_label() -> None:
    close = [point(3 + i % 4, 0.5 + i / 40, label=f"Entry number {i}") for i in range(14)]

    drawn = drawing.picture(chart(*close))

    assert drawn is not None
    named = [mark for mark in drawn.marks if mark.label]
    assert len(named) >= 4
    boxes = [
        drawing.Box(x, y - drawing.LINE + 3, x + drawing.width_of(mark.shown), y + 3)
        for mark in named
        for x, y in [mark.label or (0, 0)]
    ]
    for place, box in enumerate(boxes):
        assert not any(box.meets(other) for other in boxes[:place])
        assert not any(box.meets(other) for mark in drawn.marks for other in mark.boxes)


def test_a_long_name_is_cut_in_the_picture_and_told_whole() -> None:
    drawn = drawing.picture(chart(point(3.0, 0.5, label="n" * 100)))

    assert drawn is not None
    assert drawn.marks[0].shown == "n" * 25 + "…" and "n" * 100 in drawn.marks[0].told
