"""A board is a query: pages, filters and order are the same on its page, in the API and as CSV."""

import csv
import io
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from catalog.models import Protocol
from experiments.models import Experiment
from leaderboards.ranking import rank
from leaderboards.scores import judging, query
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
        ({"sort": "-fd"}, "edcba"),
        ({"family": "vae"}, "de"),
        ({"algorithm": "gan.sngan"}, "abc"),
        ({"submitter": "ada"}, "abc"),
        ({"budget": "5000"}, "de"),
        ({"text": "of 1000"}, "abc"),
        ({"fd_min": "2", "fd_max": "4", "sort": "-fd"}, "dcb"),
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
    assert "4 others are left out" in first


def test_a_board_of_several_budgets_says_so_and_leads_to_each(protocol: Protocol) -> None:
    page = Client().get(f"/leaderboards/{protocol.fingerprint}/").content.decode()

    assert 'href="?budget=5000">5,000 images seen</a>' in page
    assert 'href="?budget=1000">1,000 images seen</a>' in page
