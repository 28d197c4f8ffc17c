"""Tags: words of an experiment, given with it, changed afterwards, by which everything of it is found."""

from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from knox.models import AuthToken
from rest_framework.test import APIClient

from accounts.models import AuditEvent, Role, User
from catalog.models import Protocol
from experiments import services
from experiments.models import Experiment, Run
from experiments.submission.bundle import bundle_of
from experiments.submission.plain import read_yaml
from experiments.submission.record import record_of
from experiments.submission.specification import SpecificationError, read_experiment
from experiments.tags.asking import tagged, words_of
from experiments.tags.words import LONGEST, MOST, read_words
from tests import factories
from tests.web import html
from tests.web.forms import read_form

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return factories.make_user()


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol()


@pytest.fixture
def experiment(owner: User, protocol: Protocol) -> Experiment:
    """Return an experiment with two tags, beside one that has another."""
    for tags, user in ((["other"], None), (["ablation", "v2.1"], owner)):
        data = factories.experiment_data(protocol=protocol, tags=tags)
        found = services.submit_data(data, user=user)
    return found


def client_of(user: User) -> APIClient:
    _, token = AuthToken.objects.create(user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def words(experiment: Experiment) -> list[str]:
    return words_of(experiment.tags.all())


def test_words_are_read_once_each_in_small_letters_and_in_order() -> None:
    assert read_words([" v2.1", "Ablation", "ablation", "3-seeds", "a_b"]) == [
        *("3-seeds", "a_b", "ablation", "v2.1"),
    ]
    assert read_words([]) == []
    assert read_words(["a" * LONGEST]) == ["a" * LONGEST]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ablation", "expected a list of words, got 'ablation'"),
        ({"a": 1}, "expected a list of words"),
        ([1], "expected words, got 1"),
        ([""], "expected a tag of 1 to 30 letters a to z"),
        (["a" * (LONGEST + 1)], f"1 to {LONGEST} letters"),
        (["two words"], "got 'two words'"),
        (["a,b"], "got 'a,b'"),
        (["a\x07b"], r"got 'a\x07b'"),
        (["a\n"], r"got 'a\n'"),
        (["a\u202eb"], r"got 'a\u202eb'"),
        (["\u212a"], "got '\u212a'"),  # the sign of kelvin, which is a k in small letters
        (["größe"], "got 'größe'"),
        (["-a"], "a letter or digit first"),
        ([f"t{i}" for i in range(MOST + 1)], f"expected at most {MOST} tags, got {MOST + 1}"),
    ],
)
def test_what_is_no_tag_is_refused_with_a_sentence_at_its_field(
    protocol: Protocol, given: Any, told: str
) -> None:
    data = factories.experiment_data(protocol=protocol, tags=given)

    with pytest.raises(SpecificationError) as refused:
        read_experiment(data)

    assert refused.value.errors.keys() == {"tags"}
    assert told in refused.value.errors["tags"]


def test_yaml_gives_tags_and_the_spec_gives_them_back(protocol: Protocol) -> None:
    text = yaml.safe_dump(factories.experiment_data(protocol=protocol, tags=["B", "2024"]))

    made = services.submit_data(read_yaml(text), user=None)

    assert words(made) == record_of(made)["tags"] == ["2024", "b"]
    again = services.submit_data(record_of(made) | {"name": "again"}, user=None)
    assert words(again) == ["2024", "b"]
    assert services.submit_once(read_yaml(text), user=None) == (made, False)


def test_a_spec_without_tags_is_as_it_always_was(protocol: Protocol) -> None:
    assert "tags" not in record_of(factories.make_experiment(protocols=[protocol]))


def test_a_bundle_keeps_them(experiment: Experiment) -> None:
    assert bundle_of(Run.objects.get(entry__experiment=experiment))["tags"] == ["ablation", "v2.1"]


def test_lists_are_narrowed_to_a_tag(experiment: Experiment) -> None:
    for name, key in (("experiments", "id"), ("runs", "experiment"), ("samplesets", "experiment")):
        of_tag = APIClient().get(f"/api/v1/{name}/?tag=V2.1").json()["results"]
        assert {row[key] for row in of_tag} == {experiment.pk}, name
        assert not APIClient().get(f"/api/v1/{name}/?tag=none").json()["results"]

    page = html.get(Client(), "/experiments/?tag=ablation")
    (row,) = page.one("tbody").all("tr")
    assert [tag.text for tag in row.all("a", class_name="tag")] == ["ablation", "v2.1"]
    assert "No experiment matches" in html.get(Client(), "/experiments/?tag=%C3%9F").text


def test_the_tag_is_looked_up_in_an_index() -> None:
    if connection.vendor == "sqlite":
        plan = tagged("ablation").values("experiment").explain()
        assert "USING COVERING INDEX tag_by_word" in plan


def test_the_owner_and_admins_change_them_over_rest_and_it_is_written_down(
    experiment: Experiment, owner: User
) -> None:
    address = f"/api/v1/experiments/{experiment.pk}/"
    for user, wanted in ((owner, ["New", "ablation"]), (factories.make_user(role=Role.ADMIN), [])):
        answer = client_of(user).patch(address, {"tags": wanted}, format="json")
        assert (answer.status_code, answer.json()["tags"]) == (200, read_words(wanted))
        client_of(user).patch(address, {"tags": wanted}, format="json")  # changes nothing

    changes = AuditEvent.objects.filter(action="changed").order_by("pk")
    assert [(each.actor_name, each.detail) for each in changes] == [
        (owner.username, "tags: ablation, new; before: ablation, v2.1"),
        (user.username, "tags: none; before: ablation, new"),
    ]
    assert {each.object_id for each in changes} == {str(experiment.pk)}


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"tags"}),
        ([], {"tags"}),
        ({"tags": ["a b"]}, {"tags"}),
        ({"tags": ["a"], "name": "other"}, {"name"}),
    ],
)
def test_a_change_that_is_none_is_refused_and_changes_nothing(
    experiment: Experiment, owner: User, body: Any, errors: set[str]
) -> None:
    answer = client_of(owner).patch(f"/api/v1/experiments/{experiment.pk}/", body, format="json")

    assert (answer.status_code, answer.json()["errors"].keys()) == (400, errors)
    assert words(experiment) == ["ablation", "v2.1"]


def test_others_change_nothing(experiment: Experiment, client: Client) -> None:
    other = factories.make_user()
    client.force_login(other)
    address = f"/api/v1/experiments/{experiment.pk}/"

    by_rest = client_of(other).patch(address, {"tags": []}, format="json")
    by_page = client.post(f"/experiments/{experiment.pk}/tags/", {"tags": ""})

    assert (by_rest.status_code, by_page.status_code) == (403, 403)
    assert APIClient().patch(address, {"tags": []}, format="json").status_code == 401
    assert words(experiment) == ["ablation", "v2.1"]
    assert not html.get(client, experiment.get_absolute_url()).all("input", name="tags")


def test_the_page_shows_them_and_its_form_changes_them(
    experiment: Experiment, owner: User, client: Client
) -> None:
    client.force_login(owner)
    page = html.get(client, experiment.get_absolute_url())
    assert page.one("input", name="tags").attributes["value"] == "ablation, v2.1"
    assert [tag.text for tag in page.all("a", class_name="tag")] == ["ablation", "v2.1"]
    (form,) = [each for each in page.all("form") if each.all("input", name="tags")]

    wrong = client.post(form.attributes["action"], {"tags": "fine, größe"})
    right = client.post(form.attributes["action"], {"tags": "Fine  v2.1,"})

    told = html.read(wrong.content.decode())
    assert wrong.status_code == 400
    assert told.one("span", id="tags-wrong").text.startswith("Expected a tag of 1 to")
    assert told.one("input", name="tags").attributes["value"] == "fine, größe"
    assert right["Location"] == experiment.get_absolute_url()
    assert words(experiment) == ["fine", "v2.1"]


def test_the_form_takes_them(protocol: Protocol, client: Client) -> None:
    form = "/submit/experiment/"
    client.force_login(factories.make_user(role=Role.ADMIN))
    typed = read_form(client.get(form).content.decode()).values | {"name": ["typed"]}

    wrong = client.post(form, typed | {"tags": ["a/b"]}).content.decode()
    client.post(form, typed | {"tags": ["Two, one"]})

    assert "xpected a tag of 1 to 30 letters" in wrong
    assert words(Experiment.objects.get(name="typed")) == ["one", "two"]


def test_a_clone_keeps_them(experiment: Experiment, owner: User, client: Client) -> None:
    client.force_login(owner)
    form = f"/submit/experiment/?from={experiment.pk}"
    typed = read_form(client.get(form).content.decode()).values
    assert typed["tags"] == ["ablation, v2.1"]

    client.post("/submit/experiment/", typed)

    assert words(Experiment.objects.latest("pk")) == ["ablation", "v2.1"]
    assert Experiment.objects.count() == 3


def test_the_admin_shows_and_filters_them(experiment: Experiment, client: Client) -> None:
    client.force_login(factories.make_user(role=Role.ADMIN))
    address = "/admin/experiments/experiment/"

    found = client.get(f"{address}?tag=ablation").content.decode()
    one = client.get(f"{address}{experiment.pk}/change/").content.decode()

    assert "ablation, v2.1" in found
    assert "ablation, v2.1" in one
    assert f"{address}{experiment.pk}/change/" in found
    assert f"{address}{experiment.pk - 1}/change/" not in found


def test_they_go_with_the_experiment(experiment: Experiment) -> None:
    experiment.delete()

    assert not tagged("ablation").exists()
    assert tagged("other").count() == 1
