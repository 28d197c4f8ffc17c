"""Leaderboards over REST: the same as the exports, which are the same as the page."""

import pytest
from rest_framework.test import APIClient

from catalog.models import Protocol
from leaderboards import export
from leaderboards.ranking import rank
from tests import factories

OTHER_CONTROLS = ("Copy of training images", "Uniform noise", "Blurred test images")


@pytest.fixture
def protocol(db: None) -> Protocol:
    protocol = factories.make_protocol(metrics=["fd", "kd", "is", "precision", "recall"])
    experiment = factories.make_experiment(
        protocols=[protocol], algorithms=["gan.sngan", "vae.conv"]
    )
    for entry, fd in zip(factories.contenders_of(experiment), (2.0, 1.0), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd, "is": fd}])
    return protocol


def address(protocol: Protocol, query: str = "") -> str:
    return f"/api/leaderboards/{protocol.fingerprint}/{query}"


def test_each_protocol_has_a_board(anyone: APIClient, protocol: Protocol) -> None:
    (link,) = anyone.get("/api/leaderboards/").json()

    assert link["fingerprint"] == protocol.fingerprint
    assert link["entries"] == 2
    assert anyone.get(link["url"]).json()["protocol"] == protocol.fingerprint
    assert anyone.get(link["csv"])["Content-Type"] == "text/csv; charset=utf-8"


def test_json_is_the_exported_board(anyone: APIClient, protocol: Protocol) -> None:
    found = anyone.get(address(protocol)).json()

    assert found == export.to_dict(rank(protocol))
    assert [row["entry"] for row in found["rows"]] == [
        "Real test images", "Conv VAE", "SNGAN", *OTHER_CONTROLS,
    ]  # fmt: skip


@pytest.mark.parametrize(("query", "accept"), [("?format=csv", "*/*"), ("", "text/csv")])
def test_csv_is_the_exported_board(
    anyone: APIClient, protocol: Protocol, query: str, accept: str
) -> None:
    response = anyone.get(address(protocol, query), headers={"accept": accept})

    assert response.getvalue().decode() == export.to_csv(rank(protocol))
    assert response["Content-Disposition"] == (
        f'attachment; filename="leaderboard-{protocol.short}.csv"'
    )


def test_the_sort_is_that_of_the_page(anyone: APIClient, protocol: Protocol) -> None:
    found = anyone.get(address(protocol, "?sort=-fd")).json()

    assert found == export.to_dict(rank(protocol, sort="-fd"))
    assert [row["entry"] for row in found["rows"]][:3] == ["Real test images", "SNGAN", "Conv VAE"]


def test_one_experiment_is_ranked_by_itself(anyone: APIClient, protocol: Protocol) -> None:
    other = factories.make_experiment(protocols=[protocol])

    found = anyone.get(address(protocol, f"?experiment={other.pk}")).json()

    assert found["experiment"] == other.pk
    assert {row["experiment"] for row in found["rows"]} == {other.name}


def test_a_board_is_never_cut_into_pages(anyone: APIClient, protocol: Protocol) -> None:
    entries = [{"algorithm": "gan.sngan", "label": f"entry {i}"} for i in range(30)]
    for _ in range(2):
        factories.make_experiment(protocols=[protocol], entries=entries)

    assert len(anyone.get(address(protocol)).json()["rows"]) == 4 + 2 + 2 * 30


def test_an_unknown_fingerprint_is_not_found(anyone: APIClient) -> None:
    assert anyone.get(f"/api/leaderboards/{'0' * 64}/").status_code == 404


def test_an_unknown_sort_is_refused(anyone: APIClient, protocol: Protocol) -> None:
    response = anyone.get(address(protocol, "?sort=fid"))

    message = (
        "expected a column to sort by (fd, kd, is, precision, recall, images_per_second, nfe, "
        "parameters, device_seconds, name, budget, device, date), got 'fid'"
    )
    assert (response.status_code, response.json()["errors"]) == (400, {"sort": message})
    as_csv = anyone.get(address(protocol, "?sort=fid&format=csv"))
    assert (as_csv.status_code, as_csv.json()["detail"]) == (400, f"sort: {message}")


@pytest.mark.parametrize("wanted", ["x", "-1", "999", "²", "9" * 40])
def test_an_experiment_that_is_not_on_the_board_is_refused(
    anyone: APIClient, protocol: Protocol, wanted: str
) -> None:
    response = anyone.get(address(protocol), {"experiment": wanted})

    message = f"expected the id of an experiment on this board, got {wanted!r}"
    assert (response.status_code, response.json()["errors"]) == (400, {"experiment": message})


def test_an_unknown_format_is_refused_with_those_there_are(
    anyone: APIClient, protocol: Protocol
) -> None:
    answer = anyone.get(address(protocol, "?format=xlsx"))

    assert answer.status_code == 400
    assert "json, csv, jsonl, parquet, got 'xlsx'" in answer.json()["errors"]["format"]
