"""The leaderboard's page shows exactly what the export holds, in the order that was asked for."""

import csv
import io
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client
from hypothesis import given, strategies as st

from evaluation.protocols.metrics import METRICS
from experiments.models import Entry
from jobs.models import Status
from leaderboards import charts, export, ranking, rounding, tables
from leaderboards.board import Cell
from tests import factories
from tests.web import html, scenes

COSTS = ("images_per_second", "nfe", "parameters", "device_seconds")


def csv_rows(client: Client, link: str) -> list[dict[str, str]]:
    response = client.get(link)
    assert response.status_code == 200, link
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))


def link_of(page: html.Element, kind: str) -> str:
    """Return where the only board of a page is there as a file of a kind."""
    boards = page.one("span", class_name="ranking-export")
    (link,) = [a.attributes["href"] for a in boards.all("a") if a.text == kind]
    return link


def shown_rows(page: html.Element) -> list[dict[str, Any]]:
    """Return the rows of the only board of a page, exact values by column."""
    rows = [row for row in page.one("table", class_name="ranking").all("tr") if is_entry(row)]
    return [
        {
            "name": (row.attributes["data-entry"], row.attributes["data-sampler"]),
            **{
                cell.attributes["data-column"]: cell.attributes["data-value"]
                for cell in row.all("td", class_name="ranking-cell")
            },
        }
        for row in rows
    ]


def is_entry(row: html.Element) -> bool:
    return "data-entry" in row.attributes


@pytest.mark.django_db
@pytest.mark.parametrize("sort", ["", "fd", "-fd", "recall", "-images_per_second", "nfe"])
def test_the_page_equals_the_csv(client: Client, sort: str) -> None:
    scene = scenes.finished_comparison(seeds=2, failing=True)
    address = f"/leaderboards/{scene.protocol.fingerprint}/?columns=all&sort={sort}"
    page = html.get(client, address)

    link = link_of(page, "CSV")
    exported = csv_rows(client, link)
    shown = shown_rows(page)

    assert [row["name"] for row in shown] == [(r["entry"], r["sampler"]) for r in exported]
    assert len(shown) == 9
    for row, wanted in zip(shown, exported, strict=True):
        for metric in scene.protocol.metrics:
            assert row[metric] == wanted[scene.protocol.metric_label(metric)]
        for cost in COSTS:
            assert row[cost] == wanted[cost]


@pytest.mark.django_db
def test_an_experiments_own_board_equals_its_own_csv(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    factories.make_experiment(protocols=[scene.protocol])  # on the common board alone

    page = html.get(client, scene.experiment.get_absolute_url())

    link = link_of(page, "CSV")
    exported = csv_rows(client, link)
    assert [row["name"] for row in shown_rows(page)] == [
        (row["entry"], row["sampler"]) for row in exported
    ]
    assert {row["experiment"] for row in exported} == {scene.experiment.name}
    link = link_of(page, "JSON")
    assert client.get(link).json()["rows"]


@pytest.mark.django_db
def test_a_heads_link_sorts_by_its_column_and_turns_the_order_at_the_second_click(
    client: Client,
) -> None:
    scene = scenes.finished_comparison()
    address = f"/leaderboards/{scene.protocol.fingerprint}/"

    def follow(page: html.Element, label: str) -> html.Element:
        heads = page.all("th", class_name="ranking-head")
        (link,) = [h.all("a")[0].attributes["href"] for h in heads if label in h.text]
        return html.get(client, address + link)

    recall = follow(html.get(client, address), "recall")
    assert recall.one("th", aria_sort="descending").text == "PR[classifier] recall ↑"
    numbers = [float(row["recall"]) for row in shown_rows(recall)[1:-3]]
    assert numbers == sorted(numbers, reverse=True)

    worst = follow(recall, "recall")
    assert worst.one("th", aria_sort="ascending").text == "PR[classifier] recall ↑ worst first"
    assert [float(row["recall"]) for row in shown_rows(worst)[1:-3]] == sorted(numbers)
    assert shown_rows(worst)[0]["name"] == ("Real test images", "test split")


@pytest.mark.django_db
def test_an_unknown_column_is_a_404_that_lists_the_columns(client: Client) -> None:
    scene = scenes.running_comparison()

    for address in (
        f"/leaderboards/{scene.protocol.fingerprint}/?sort=beauty",
        f"{scene.experiment.get_absolute_url()}?sort=beauty",
    ):
        text = html.get(client, address, 404).text
        assert "got 'beauty'" in text and "images_per_second" in text


@pytest.mark.django_db
def test_the_control_is_first_and_marked_and_failed_seeds_are_counted(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=3, failing=True)
    page = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/?sort=-fd")

    first, last = page.all("tbody")
    rows = first.all("tr")

    assert rows[0].attributes["data-control"] == "test"
    assert [row for row in rows[1:] if "data-control" in row.attributes] == []
    assert last.one("th", scope="rowgroup").text == "Other controls, for scale"
    assert [row.attributes["data-control"] for row in last.all("tr")[1:]] == [
        "copy",
        "noise",
        "blur",
    ]
    assert "control, not ranked" in last.all("tr")[1].text
    (gan,) = page.all("tr", data_entry="SNGAN")
    assert gan.one("td", class_name="ranking-seeds").text == "2/3 1 lost"
    assert [g.text for g in page.all("th", scope="colgroup")] == [
        "Quality", "Coverage", "Memorisation", "Cost", "Trained",
    ]  # fmt: skip


@pytest.mark.django_db
def test_the_page_states_why_survivors_stand_behind_the_others(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=3, failing=True)
    page = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/")

    (gan,) = page.all("tr", data_entry="SNGAN")

    assert gan is page.all("tbody")[0].all("tr")[-1]  # although its survivors have the best FD
    note = gan.one("td", data_column="fd").attributes["title"]
    assert note.endswith("rank 5, behind all without lost seeds")
    assert "leads" not in gan.one("td", data_column="fd").attributes["class"].split()
    foot = page.one("p", class_name="ranking-foot").text
    assert "are ranked behind those without and never lead a metric" in foot


@pytest.mark.django_db
def test_a_model_nearer_to_the_reference_than_real_images_is_marked_in_text(
    client: Client,
) -> None:
    experiment = factories.make_experiment(algorithms=["gan.sngan", "vae.conv"])
    protocol = experiment.protocols.get()
    entries = (factories.control_of(experiment), *factories.contenders_of(experiment))
    for entry, fd in zip(entries, (0.5, 0.25, 0.75), strict=True):
        distance = {"value": fd, "standard_error": 0.01}
        factories.make_scores(
            entry=entry, protocol=protocol, values=[{"fd": distance, "recall": fd}]
        )

    for address in (f"/leaderboards/{protocol.fingerprint}/", experiment.get_absolute_url()):
        page = html.get(client, address)
        (mark,) = page.all("span", class_name="ranking-mark")
        dagger, words = mark.all("span")[1:]
        assert (dagger.text, dagger.attributes["aria-hidden"]) == ("†", "true")
        assert "may have copied training images" in dagger.attributes["title"]
        assert words.text == "nearer to the reference than the control"
        gan = page.one("tr", data_entry="SNGAN").one("td", data_column="fd")
        assert mark in list(gan.walk())
        assert gan.attributes["data-value"] == "0.25"
        assert page.all("span", class_name="ranking-copied")[0].text.startswith(
            "† nearer to the reference than unseen real images are: "
            "the model may have copied training images."
        )


@pytest.mark.django_db
def test_a_board_without_a_mark_does_not_explain_it(client: Client) -> None:
    scene = scenes.running_comparison()

    text = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/").text
    assert "†" not in text and "‡" not in text


@pytest.mark.django_db
def test_the_training_copy_is_marked_as_what_it_is_and_no_other_row_is(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)

    for address in (
        f"/leaderboards/{scene.protocol.fingerprint}/",
        scene.experiment.get_absolute_url(),
    ):
        page = html.get(client, address)

        marked = [row for row in page.all("tr") if row.all("span", class_name="ranking-mark")]
        (copy,) = marked
        assert copy.attributes["data-control"] == "copy"
        cell = copy.one("td", data_column="authenticity")
        assert "‡" in cell.text and "nearer to single training images than the control" in cell.text
        assert (
            "nearer to single training images than unseen real images are"
            in cell.attributes["title"]
        )
        foot = page.one("p", class_name="ranking-foot").text
        assert (
            "‡ nearer to single training images than unseen real images are: these may be" in foot
        )


# --- which metrics are columns --------------------------------------------------------------


def columns(page: html.Element) -> list[str]:
    row = next(row for row in page.all("tr") if is_entry(row))
    return [cell.attributes["data-column"] for cell in row.all("td", class_name="ranking-cell")]


def choices(page: html.Element) -> dict[str, html.Element]:
    links = page.one("nav", class_name="ranking-choices").all("a")
    return {link.text: link for link in links}


@pytest.mark.django_db
def test_headline_metrics_are_shown_at_first_and_a_link_shows_all(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    for address in (
        f"/leaderboards/{scene.protocol.fingerprint}/",
        scene.experiment.get_absolute_url(),
    ):
        page = html.get(client, address)
        headline = [m for m in columns(page) if m not in COSTS]
        assert headline == [m for m in scenes.METRICS if METRICS[m].headline] != scenes.METRICS
        assert choices(page)["Headline metrics"].attributes["aria-current"] == "true"

        link = choices(page)[f"All {len(scenes.METRICS)} metrics"]
        assert "aria-current" not in link.attributes
        whole = html.get(client, urljoin(address, link.attributes["href"]))

        assert columns(whole) == [*scenes.METRICS, *COSTS]
        assert choices(whole)[link.text].attributes["aria-current"] == "true"
        heads = [
            head.all("a")[0].attributes["href"]
            for head in whole.all("th", class_name="ranking-head")
        ]
        assert all("columns=all" in head for head in heads)


@pytest.mark.django_db
def test_the_metric_that_decides_the_order_is_never_hidden(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    address = f"/leaderboards/{scene.protocol.fingerprint}/?sort=density"

    page = html.get(client, address)

    assert "density" in columns(page)
    assert page.one("th", aria_sort="descending").text.startswith("DC[classifier] density")
    assert "sort=density" in choices(page)["Headline metrics"].attributes["href"]


@pytest.mark.django_db
def test_where_every_metric_is_a_headline_there_is_nothing_to_choose(client: Client) -> None:
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    factories.make_experiment(protocols=[protocol])

    page = html.get(client, f"/leaderboards/{protocol.fingerprint}/")

    assert page.all("nav", class_name="ranking-choices") == []


@pytest.mark.django_db
def test_exports_hold_every_metric_whatever_the_page_shows(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/")

    link = link_of(page, "CSV")

    assert "DC[classifier] density" in csv_rows(client, link)[0]
    assert "with 1 more metric" in page.one("p", class_name="ranking-foot").text


@pytest.mark.django_db
def test_cells_say_what_their_interval_is_over_and_why_they_are_empty(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=2)
    late = factories.make_experiment(protocols=[scene.protocol])
    page = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/")

    def title(entry: Entry, column: str) -> str:
        experiment = entry.experiment.name
        (row,) = page.all("tr", data_entry=entry.label, data_experiment=experiment)[:1]
        return row.one("td", data_column=column).attributes["title"]

    (vae,) = [e for e in factories.contenders_of(scene.experiment) if e.label == "σ-VAE"]
    control = factories.control_of(scene.experiment)
    assert "95 % interval of the mean over training seeds" in title(vae, "fd")
    assert "95 % interval over the images of one seed" in title(control, "fd")
    assert "the plug-in estimate is" in title(vae, "fd")
    assert title(control, "nfe") == "no model draws these images"
    assert title(factories.contenders_of(late)[0], "fd") == "not scored yet"


@pytest.mark.django_db
def test_every_parameter_of_every_metric_stands_beside_the_board(client: Client) -> None:
    scene = scenes.running_comparison()
    page = html.get(client, f"/leaderboards/{scene.protocol.fingerprint}/").text

    for fact in (
        scene.protocol.fingerprint,
        "neighbours",
        "polynomial",
        "jackknife",
        "train split",
    ):
        assert fact in page


@pytest.mark.django_db
def test_a_measured_accuracy_of_the_extractor_is_shown(client: Client) -> None:
    protocol = factories.make_protocol(facts={"test_accuracy": 0.9861})

    assert "Test accuracy 98.61 %" in html.get(client, f"/protocols/{protocol.fingerprint}/").text


@pytest.mark.django_db
def test_the_home_page_names_the_leader_of_each_corner(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    board = ranking.rank(scene.protocol)

    card = html.get(client, "/").one("article", class_name="board-card")

    for corner, key in (("Quality", "fd"), ("Coverage", "recall"), ("Speed", "images_per_second")):
        (first,) = [r for r in board.rows if r.cells[key].rank == 1][:1]
        (shown,) = [d for d in card.all("div", class_name="leader") if d.one("dt").text == corner]
        assert first.entry.label in shown.text
    assert "5 of 5 entries scored" in card.text


@pytest.mark.django_db
def test_the_home_page_says_of_how_many_seeds_a_leader_is_the_mean(client: Client) -> None:
    scenes.finished_comparison(seeds=3, failing=True)

    shown = html.get(client, "/").all("div", class_name="leader")

    assert len(shown) == 3
    for leader in shown:
        assert leader.one("span", class_name="leader-seeds").text == "3/3 seeds"
        assert "SNGAN" not in leader.text


@pytest.mark.django_db
def test_one_seed_is_not_counted_and_lost_seeds_of_a_leader_are(client: Client) -> None:
    scenes.finished_comparison(seeds=1)
    assert html.get(client, "/").all("span", class_name="leader-seeds") == []

    experiment = factories.make_experiment(seeds=[0, 1])
    (entry,) = factories.contenders_of(experiment)
    factories.make_scores(entry=entry, protocol=experiment.protocols.get(), values=[{"fd": 1.0}])
    factories.make_run(entry=entry, seed=1, status=Status.FAILED)

    texts = {e.text for e in html.get(client, "/").all("span", class_name="leader-seeds")}
    assert texts == {"1/2 seeds, 1 lost"}


@pytest.mark.django_db
def test_the_chart_holds_one_point_for_each_scored_row_with_its_interval() -> None:
    scene = scenes.finished_comparison(seeds=1)
    board = ranking.rank(scene.protocol)

    chart = charts.trilemma(board)

    assert chart is not None
    assert chart["quality"] == {"label": "FD[classifier] ↓", "higher_is_better": False}
    assert chart["coverage"] == {"label": "PR[classifier] recall ↑", "higher_is_better": True}
    assert [p["label"] for p in chart["points"]] == [
        "Real test images", "SNGAN", "σ-VAE", "β-VAE", "DDPM, DDIM 50", "DDPM, DPM-Solver++ 20",
    ]  # fmt: skip
    for point, row in zip(chart["points"], board.rows[:-3], strict=True):
        cell = row.cells["fd"]
        assert point["quality"] == {"value": cell.value, "low": cell.low, "high": cell.high}
        assert point["family"] == row.entry.family
    (joined,) = chart["joined"]
    assert [key.partition(":")[2] for key in joined] == ["DDIM 50", "DPM-Solver++ 20"]  # NFE 1


@pytest.mark.django_db
def test_there_is_no_chart_before_there_are_values() -> None:
    experiment = factories.make_experiment()
    board = ranking.rank(experiment.protocols.get())

    assert charts.trilemma(board) is None
    assert tables.table(board).rows[0].cells[0].text == "–"


@pytest.mark.django_db
def test_a_cancelled_or_unscored_entry_is_still_a_row(client: Client) -> None:
    experiment = factories.make_experiment(algorithms=["gan.sngan", "vae.conv"])
    gan, _ = factories.contenders_of(experiment)
    factories.make_run(entry=gan, status=Status.CANCELLED)
    protocol = experiment.protocols.get()

    page = html.get(client, f"/leaderboards/{protocol.fingerprint}/")

    assert len(shown_rows(page)) == len(export.rows(ranking.rank(protocol))) == 2 + 4


# --- digits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("halves", "places"),
    [([0.52], 1), ([6.2], 0), ([0.12], 2), ([0.0213], 2), ([62.0], 0), ([6.2, 0.08], 2)],
)
def test_the_narrowest_interval_decides_the_digits_of_a_column(
    halves: list[float], places: int
) -> None:
    cells = [Cell(12.3456, 12.3456 - half, 12.3456 + half) for half in halves]

    assert rounding.decimals(cells) == places


@pytest.mark.parametrize(("value", "places"), [(12345.6, 0), (12.3, 1), (0.0123, 4), (0.0, 1)])
def test_without_an_interval_three_digits_are_shown(value: float, places: int) -> None:
    assert rounding.decimals([Cell(value)]) == places


def test_a_column_of_counts_is_whole_unless_a_mean_over_seeds_is_not() -> None:
    assert rounding.decimals([Cell(0.0), Cell(12.0), Cell(None)], counts=True) == 0
    assert rounding.decimals([Cell(0.0), Cell(1.5)], counts=True) == 2


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(5.0, 4.5, 5.5), "± 0.5"),
        (Cell(0.98, 0.9, 1.0), "[0.9, 1.0]"),
        (Cell(0.0, -0.5, 0.5), "± 0.5"),
        (Cell(-0.3, -0.8, -0.1), "[−0.8, −0.1]"),
        (Cell(1.0), ""),
        (Cell(None, 1.0, 2.0), ""),
    ],
)
def test_an_interval_is_written_around_its_value_only_if_it_is_symmetric(
    cell: Cell, text: str
) -> None:
    assert rounding.spread(cell, 1) == text


@given(st.floats(-1e9, 1e9), st.integers(0, rounding.MAX_DECIMALS))
def test_a_written_number_is_its_value_rounded(value: float, places: int) -> None:
    text = rounding.number(value, places)

    assert float(text.replace(",", "").replace("−", "-")) == float(f"{value:.{places}f}")
    assert text not in ("−0", "−0.0", "−0.00")


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 1e6)), max_size=4))
def test_any_column_has_a_sensible_number_of_decimals(pairs: list[tuple[float, float]]) -> None:
    cells = [Cell(value, value - half, value + half) for value, half in pairs]

    assert 0 <= rounding.decimals(cells) <= rounding.MAX_DECIMALS


@pytest.mark.django_db
def test_a_distance_corrected_below_zero_is_zero_on_page_and_in_exports(
    client: Client,
) -> None:
    protocol = factories.make_protocol()
    experiment = factories.make_experiment(protocols=[protocol])
    value = {"value": 0.9, "bias_corrected": -0.5, "low": 0.0, "high": 0.4}
    factories.make_scores(
        entry=factories.control_of(experiment), protocol=protocol, values=[{"fd": value}]
    )

    page = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()

    assert 'data-value="0.0"' in page
    assert "0.5" not in page
    export = client.get(f"/api/leaderboards/{protocol.fingerprint}/?format=csv").getvalue().decode()
    (real,) = [row for row in csv.DictReader(io.StringIO(export)) if row["control_kind"] == "test"]
    label = protocol.metric_label("fd")
    assert [real[name] for name in (label, f"{label} low", f"{label} high")] == [
        "0.0",
        "0.0",
        "0.4",
    ]


@pytest.mark.django_db
def test_a_board_is_called_by_its_dataset_wherever_it_is_named(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    board = f"/leaderboards/{scene.protocol.fingerprint}/"
    name = f"{scene.protocol.dataset.name} · {scene.protocol.name}"
    assert html.get(client, board).one("h1").text == name
    assert html.get(client, board).one("title").text.startswith(f"{name} · ")
    for page in ("/", "/leaderboards/", scene.experiment.get_absolute_url()):
        links = [a.text for a in html.get(client, page).all("a") if a.attributes["href"] == board]
        assert name in links, page
    listed = client.get("/api/v1/leaderboards/").json()
    assert [each["board_name"] for each in listed] == [name]
    assert client.get(f"/api/v1{board}").json()["board_name"] == name


@pytest.mark.django_db
def test_there_is_no_chart_of_controls_alone() -> None:
    board = ranking.rank(scenes.finished_comparison(seeds=1).protocol)
    assert any(row.cells["fd"].value is not None for row in board.rows if row.is_control)

    assert (
        charts.trilemma(replace(board, rows=tuple(r for r in board.rows if r.is_control))) is None
    )
