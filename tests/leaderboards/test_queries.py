"""A board is a query: pages, filters and order are the same on its page, in the API and as CSV."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from catalog.models import Protocol
from experiments import services
from experiments.models import Entry, Evaluation, Experiment
from leaderboards import charts, tables
from leaderboards.board import COSTS, columns_of
from leaderboards.origins.budgets import Budget
from leaderboards.ranking import rank
from leaderboards.scores import cards, history, judging, points, query, reading
from tests import factories
from tests.web import html

pytestmark = pytest.mark.django_db
LABELS = ("a", "b", "c", "d", "e")


@pytest.fixture(params=["judged now", "judged before"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """Return a protocol with two experiments of five entries in all, FD 1 to 5."""
    protocol = factories.make_protocol(metrics=["fd", "recall"], num_images=20)
    small = make_experiment(protocol, "gan.sngan", LABELS[:3], budget=1000, first=1.0)
    make_experiment(protocol, "vae.conv", LABELS[3:], budget=5000, first=4.0)
    small.created_by = factories.make_user(username="ada")
    small.save()
    services.change_tags(small, ["ablation", "small"], user=None)
    if request.param == "judged before":
        judging.judge(protocol)
    return protocol


def make_experiment(
    protocol: Protocol, algorithm: str, labels: tuple[str, ...], *, budget: int, first: float
) -> Experiment:
    entries = [{"algorithm": algorithm, "label": label} for label in labels]
    experiment = factories.make_experiment(
        protocols=[protocol], entries=entries, budget={"images": budget}, name=f"Of {budget}"
    )
    for place, entry in enumerate(factories.contenders_of(experiment)):
        values = [{"fd": first + place, "recall": 0.5}]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
    return experiment


def asked(protocol: Protocol, **parameters: Any) -> list[str]:
    """Return the contenders of a part of a board, which page, API and CSV agree on."""
    address = f"leaderboards/{protocol.fingerprint}/?{urlencode(parameters)}"
    client = Client()
    of_api = client.get(f"/api/{address}").json()
    of_csv = client.get(f"/api/{address}&format=csv").getvalue().decode()
    rows = [(row["entry"], row["rank"]) for row in of_api["rows"] if not row["control"]]
    read = [row for row in csv.DictReader(io.StringIO(of_csv)) if row["control"] == "False"]
    assert [(row["entry"], int(row["rank"])) for row in read] == rows
    page = html.get(client, f"/{address}")
    lines = [line.attributes for line in page.all("tr") if "data-entry" in line.attributes]
    shown = [line["data-entry"] for line in lines if line["data-kind"] != "control"]
    assert shown == [entry for entry, _ in rows]
    whole = {row.entry.label: row.cells["fd"].rank for row in rank(protocol).rows}
    assert all(whole[entry] == place for entry, place in rows), "ranks are of the whole board"
    return [entry for entry, _ in rows]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "abcde"),
        ({"sort": "-fd"}, "cbaed"),  # by budgets
        ({"sort": "-fd", "group": "none"}, "edcba"),
        ({"sort": "-name"}, "cbaed"),
        ({"sort": "-name", "group": "none"}, "edcba"),
        ({"sort": "device"}, "abcde"),
        ({"sort": "date", "budget": "1000"}, "abc"),
        ({"sort": "-budget", "group": "none"}, "deabc"),
        ({"family": "vae"}, "de"),
        ({"algorithm": "gan.sngan"}, "abc"),
        ({"submitter": "ada"}, "abc"),
        ({"tag": "small"}, "abc"),
        ({"tag": "SMALL", "fd_min": "2"}, "bc"),
        ({"tag": "large"}, ""),
        ({"as_of": "2100-01-01", "tag": "ablation"}, "abc"),
        ({"budget": "5000"}, "de"),
        ({"budget": "elsewhere"}, ""),
        ({"device": "CPU"}, "abcde"),
        ({"device": "H200"}, ""),
        ({"columns": "recall,device"}, "abcde"),
        ({"as_of": "2100-01-01", "family": "vae"}, "de"),
        ({"as_of": "2000-01-01"}, ""),
        ({"text": "of 1000"}, "abc"),
        ({"fd_min": "2", "fd_max": "4", "sort": "-fd"}, "cbd"),
        ({"since": "2000-01-01"}, "abcde"),
        ({"until": "2000-01-01"}, ""),
        ({"family": "gan", "fd_max": "1.5"}, "a"),
        ({"page": "1", "page_size": "4"}, "abc"),  # real test images stand before
        ({"page": "2", "page_size": "4"}, "de"),
        ({"page": "9", "page_size": "4"}, ""),
    ],
)
def test_a_part_of_a_board_is_the_same_everywhere(
    protocol: Protocol, parameters: dict[str, str], expected: str
) -> None:
    assert asked(protocol, **parameters) == list(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "x"),
        ("page_size", "501"),
        ("family", "none"),
        ("budget", "cheap"),
        ("since", "yesterday"),
        ("fd_min", "nan"),
        ("text", "a" * 201),
        ("submitter", "a\x07b"),
        ("tag", "two words"),
        ("tag", "a\u202eb"),
        ("group", "family"),
        ("columns", "fd,beauty"),
        ("baseline", "the best"),
        ("baseline", "999999"),
        ("as_of", "yesterday"),
    ],
)
def test_a_part_that_cannot_be_understood_is_refused_by_name(name: str, value: str) -> None:
    protocol = factories.make_protocol(metrics=["fd"])
    address = f"leaderboards/{protocol.fingerprint}/?{urlencode({name: value})}"

    of_api = Client().get(f"/api/{address}")

    assert of_api.status_code == 400
    assert list(of_api.json()["errors"]) == [name]
    assert Client().get(f"/{address}").status_code == 404


def test_a_page_says_which_rows_it_shows_and_leads_to_the_others(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "PAGE", 4)
    address = f"/leaderboards/{protocol.fingerprint}/"

    first = Client().get(f"{address}?sort=-fd&fd_max=4").content.decode()
    last = Client().get(f"{address}?sort=-fd&fd_max=4&page=2").content.decode()

    assert "1–4 of 8 rows" in first
    assert 'rel="next" href="?sort=-fd&amp;fd_max=4&amp;page=2"' in first
    assert "5–8 of 8 rows" in last
    assert "paler, 1 of the other 4" in first  # the others are controls, for scale


def test_entries_are_ranked_among_those_of_their_budget(protocol: Protocol) -> None:
    board = reading.board(protocol)

    ranks = {row.entry.label: row.cells["fd"].rank for row in board.rows if not row.is_control}
    assert ranks == {"a": 1, "b": 2, "c": 3, "d": 1, "e": 2}
    (card,) = cards.overview([protocol])
    assert [leader.budget for leader in card.leaders] == ["1,000 images seen"] * 3


def test_what_was_trained_elsewhere_is_ranked_apart_from_several_budgets_alone() -> None:
    protocol = factories.make_protocol(metrics=["fd"])
    experiment = make_experiment(protocol, "gan.sngan", ("a",), budget=1000, first=2.0)
    (drawn,) = factories.make_external(experiment).sample_sets.all()
    factories.make_evaluation(sample_set=drawn, protocol=protocol, values={"fd": 1.0})

    def ranks() -> list[int | None]:
        found = reading.board(protocol).rows
        assert [row.entry.pk for row in rank(protocol).rows] == [row.entry.pk for row in found]
        return [row.cells["fd"].rank for row in found if not row.is_control]

    assert ranks() == [1, 2]
    make_experiment(protocol, "gan.sngan", ("b",), budget=5000, first=3.0)
    assert ranks() == [1, 1, 1]


@pytest.mark.parametrize(
    "budget", [Budget(1000), Budget(seconds=60.0), Budget(None, 0.1), Budget()]
)
def test_a_budget_is_read_as_it_is_written(budget: Budget) -> None:
    assert Budget.read(budget.value) == Budget.of_key(budget.key) == budget
    assert Budget.read("1234567.5s") == Budget(seconds=1234567.5)


def test_a_baseline_is_taken_from_every_number_everywhere(protocol: Protocol) -> None:
    entry = Entry.objects.get(label="b")
    address = f"leaderboards/{protocol.fingerprint}/?baseline={entry.pk}&columns=fd"

    of_api = Client().get(f"/api/{address}").json()
    text = Client().get(f"/api/{address}&format=csv").getvalue().decode()
    page = html.get(Client(), f"/{address}")

    name = "FD[classifier] minus baseline"
    wanted = {"a": -1.0, "b": None, "c": 1.0, "d": 2.0, "e": 3.0}
    rows = {row["entry"]: row for row in of_api["rows"] if not row["control"]}
    assert of_api["baseline"] == f"{entry.pk}:direct"
    assert {label: row[name] for label, row in rows.items()} == wanted
    assert not any("PR[classifier] recall" in row for row in rows.values())
    exported = {row["entry"]: row[name] for row in csv.DictReader(io.StringIO(text))}
    assert [exported[label] for label in LABELS] == ["-1.0", "", "1.0", "2.0", "3.0"]
    cells = page.all("td", data_delta="fd")
    assert [cell.attributes["data-value"] for cell in cells] == ["-1.0", "1.0", "2.0", "3.0"]
    assert "budgets differ, too" in cells[-1].attributes["title"]


def test_a_day_of_before_has_what_was_measured_until_then(protocol: Protocol) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Experiment.objects.update(created_at=long_ago)
    late = Evaluation.objects.get(sample_set__entry__label="a")
    Evaluation.objects.exclude(pk=late.pk).filter(status="completed").update(finished_at=long_ago)

    assert asked_now(protocol, as_of="2020-01-01") == {"b": 1, "c": 2, "a": None, "d": 1, "e": 2}


def asked_now(protocol: Protocol, **parameters: str) -> dict[str, int | None]:
    """Return the contenders of a board over REST, with their ranks."""
    found = Client().get(f"/api/leaderboards/{protocol.fingerprint}/", parameters).json()
    return {row["entry"]: row["rank"] for row in found["rows"] if not row["control"]}


def test_a_large_board_of_before_is_refused(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MOST", 3)

    response = Client().get(f"/api/leaderboards/{protocol.fingerprint}/?as_of=2020-01-01")

    assert "at most 3 rows" in response.json()["errors"]["as_of"]


def test_one_configuration_submitted_again_is_marked_on_its_rows(protocol: Protocol) -> None:
    other = [{"algorithm": "vae.conv", "label": "f"}]
    factories.make_experiment(
        protocols=[protocol], entries=other, seeds=[7], budget={"images": 5000}
    )
    address = f"/leaderboards/{protocol.fingerprint}/"

    of_api = Client().get(f"/api{address}").json()["rows"]
    page = html.get(Client(), address)

    same = {row["entry"]: row["same_as"] for row in of_api if not row["control"]}
    assert same["a"] == "b in Of 1000; c in Of 1000"
    assert (same["d"], same["f"]) == ("e in Of 5000", "")  # no seed in common
    assert {row["same_as"] for row in of_api if row["control"]} == {""}
    assert "same as 2 others" in page.one("tr", data_entry="a").text
    assert rank(protocol).rows[1].same_as == ("b in Of 1000", "c in Of 1000")


def test_one_entry_far_from_the_others_does_not_press_them_together(protocol: Protocol) -> None:
    linear = charts.trilemma(reading.board(protocol))
    make_experiment(protocol, "gan.sngan", ("far",), budget=900, first=248.0)
    query_of_two = query.Query(size=2)

    board = reading.board(protocol, query=query_of_two)
    chart = charts.trilemma(board, points.others(board, query_of_two))

    assert linear is not None and not linear["log"]
    assert chart is not None and chart["log"]
    assert [point["label"] for point in chart["points"]] == ["far"]  # real images have no value
    assert [point[0] for point in chart["others"]] == list(LABELS)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"sort": "-recall"}, {"sort": "name", "group": "none"}, {"text": "of", "fd_min": "2"}],
)
def test_a_first_page_is_read_with_the_points_behind_it(
    protocol: Protocol, parameters: dict[str, str]
) -> None:
    judging.judge(protocol)
    sort = parameters.get("sort", "")
    alone = query.read(parameters, columns_of(protocol), size=3)

    for size in (1, 3, 20):
        apart = replace(alone, size=size)
        together = replace(apart, ahead=2)
        page, first = (reading.board(protocol, sort=sort, query=q) for q in (apart, together))
        assert [row.entry for row in first.rows] == [row.entry for row in page.rows]
        mine = points.others(first, together, most=2)
        assert mine == points.others(page, apart, most=2)
        assert bool(mine) == (size < 20)


@pytest.mark.parametrize("columns", ["", "recall", "all"])
def test_a_page_of_html_shows_and_draws_the_same_from_fewer_columns(
    protocol: Protocol, columns: str
) -> None:
    judging.judge(protocol)
    wanted = query.read({"columns": columns}, columns_of(protocol), size=5)
    fewer = replace(wanted, is_page=True)

    whole, page = (reading.board(protocol, sort="recall", query=q) for q in (wanted, fewer))

    texts = [
        [[(cell.key, cell.text, cell.note) for cell in row.cells] for row in shown.rows]
        for shown in (tables.table(whole, query=wanted), tables.table(page, query=fewer))
    ]
    assert texts[0] == texts[1] and len(texts[0]) == 5
    assert charts.trilemma(whole) == charts.trilemma(page)


def test_a_page_asks_few_questions(protocol: Protocol, django_assert_max_num_queries: Any) -> None:
    judging.judge(protocol)
    address = f"/leaderboards/{protocol.fingerprint}/?text=of&fd_max=4.5"

    with django_assert_max_num_queries(15):
        page = Client().get(address).content.decode()

    assert 'data-entry="d"' in page and 'data-entry="e"' not in page


def test_a_board_of_several_budgets_says_so_and_leads_to_each(protocol: Protocol) -> None:
    page = Client().get(f"/leaderboards/{protocol.fingerprint}/").content.decode()

    assert "5,000 images seen: ranked among themselves" in page
    assert 'href="?budget=5000">5,000 images seen</a>' in page
    assert 'href="?budget=1000">1,000 images seen</a>' in page


def test_a_page_of_html_has_no_more_rows_than_fit_whatever_is_asked_for() -> None:
    columns = COSTS

    sizes = [
        query.read({"page_size": asked}, columns, size=of_html).size
        for of_html in (query.PAGE, None)
        for asked in ("4", "500")
    ]

    assert sizes == [4, query.PAGE, 4, 500]
