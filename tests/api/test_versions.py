"""The interface is at /api/v1/; the addresses of before lead to it, and say that they will go."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests import factories
from tests.config.test_addresses import Keys, filled, make_rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def keys() -> Keys:
    return make_rows()


def test_every_resource_has_both_addresses_and_the_old_one_names_the_new(keys: Keys) -> None:
    client = Client()
    paths = client.get("/api/v1/schema/?format=json").json()["paths"]
    assert all(path.startswith("/api/v1/") for path in paths)

    for path in paths:
        route = path.replace("{id}", "<pk>").replace("{", "<").replace("}", ">")
        new = filled(route, keys)
        answers = [client.get(address) for address in (new, new.replace("/v1/", "/", 1))]
        for answer in answers:
            answer.close()
        now, before = answers
        assert now.status_code == before.status_code, path
        assert "Deprecation" not in now and before["Deprecation"] == "@1795910400"
        assert before["Link"] == f'<{new}>; rel="successor-version"'


def test_links_stay_among_the_addresses_that_were_asked(anyone: APIClient) -> None:
    evaluation = factories.make_evaluation()
    for beginning in ("/api/", "/api/v1/"):
        site = f"http://testserver{beginning}"

        index = anyone.get(beginning).json()
        row = anyone.get(f"{beginning}evaluations/{evaluation.pk}/").json()
        board = anyone.get(f"{beginning}leaderboards/").json()[0]

        assert index["runs"] == f"{site}runs/"
        assert row["url"] == f"{site}evaluations/{evaluation.pk}/"
        assert board["csv"] == f"{site}leaderboards/{board['fingerprint']}/?format=csv"


def test_the_addresses_of_before_have_pages_by_number(anyone: APIClient) -> None:
    factories.make_experiment(seeds=range(60))

    page = anyone.get("/api/runs/?page=2").json()

    assert (page["count"], len(page["results"]), page["next"]) == (60, 10, None)
    assert page["previous"] == "http://testserver/api/runs/"
    assert anyone.get("/api/runs/?page_size=1").status_code == 400


@pytest.mark.parametrize("address", ["/api", "/api/v1", "/api/runs", "/api/v1/runs"])
def test_a_missing_slash_is_added(anyone: APIClient, address: str) -> None:
    answer = anyone.get(address)

    assert (answer.status_code, answer["Location"]) == (301, f"{address}/")


@pytest.mark.parametrize("address", ["/api/a%0d%0ab/", "/api/%ff/", "/api/é/", "/api/v2/runs/"])
def test_no_old_address_breaks_a_header(anyone: APIClient, address: str) -> None:
    assert anyone.get(address).status_code == 404


def same(client: APIClient, address: str, etag: str) -> Any:
    return client.get(address, headers={"if-none-match": etag})


def test_what_did_not_change_is_not_sent_again(anyone: APIClient, writer: APIClient) -> None:
    run = factories.make_run()
    address = f"/api/v1/runs/{run.pk}/"
    etag = anyone.get(address)["ETag"]

    unchanged = same(anyone, address, etag)
    writer.post(f"{address}cancel/")
    changed = same(anyone, address, etag)

    assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", etag)
    assert (changed.status_code, changed.json()["status"]) == (200, "cancelled")
    assert same(anyone, address, changed["ETag"]).status_code == 304


def test_images_that_are_here_already_are_not_sent_again(anyone: APIClient) -> None:
    sample_set = factories.make_sample_set(files=True)
    etags = set()
    for name in ("file", "grid"):
        address = f"/api/v1/samplesets/{sample_set.pk}/{name}/"
        answer = anyone.get(address)
        answer.close()

        assert same(anyone, address, answer["ETag"]).status_code == 304
        other = same(anyone, address, '"other"')
        other.close()
        assert other.status_code == 200
        etags.add(answer["ETag"])
    assert len(etags) == 2


def test_a_beginning_of_a_fingerprint_is_enough_where_one_alone_has_it(anyone: APIClient) -> None:
    one = factories.make_protocol()
    two = factories.make_protocol(dataset=one.dataset, num_images=50)
    short = one.fingerprint[:12]

    assert anyone.get(f"/api/v1/protocols/{short}/").json()["fingerprint"] == one.fingerprint
    assert anyone.get(f"/api/v1/leaderboards/{short}/").json()["protocol"] == one.fingerprint
    compared = anyone.get(f"/api/v1/protocols/{short}/compare/{two.fingerprint[:8]}/")
    assert compared.json() == {"comparable": False, "differences": one.differences(two)}


def test_a_beginning_of_several_fingerprints_is_refused(anyone: APIClient) -> None:
    one = factories.make_protocol()
    two = factories.make_protocol(dataset=one.dataset, num_images=50)
    type(two).objects.filter(pk=two.pk).update(fingerprint=one.fingerprint[:20] + "0" * 44)

    for resource in ("protocols", "leaderboards"):
        answer = anyone.get(f"/api/v1/{resource}/{one.fingerprint[:20]}/")
        assert answer.status_code == 404
        assert "several fingerprints begin with" in answer.json()["detail"]
        assert anyone.get(f"/api/v1/{resource}/{one.fingerprint}/").status_code == 200
    assert "no protocol's" in anyone.get("/api/v1/protocols/00000000/").json()["detail"]
