"""Searches in the lists of jobs: what Django's own search finds, by fewer looks at rows."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.test import Client

from accounts.models import User
from experiments.models import Evaluation, Run, SampleSet
from jobs import admin_search
from jobs.admin_search import NarrowedSearch, words_of
from jobs.models import Job
from tests import factories
from tests.admin.test_lists import address, words

KINDS: list[type[Job]] = [Run, SampleSet, Evaluation]
pytestmark = pytest.mark.django_db


@pytest.fixture
def filled(db: None) -> None:
    """Three experiments whose names, entries, samplers and protocols have words in common."""
    for name, label in [("night one", "A wide net"), ("Night two", "small"), ("day", "night")]:
        experiment = factories.make_experiment(name=name, seeds=[0])
        entry = factories.contenders_of(experiment)[0]
        type(entry).objects.filter(pk=entry.pk).update(label=label)
        entry.refresh_from_db()
        run = factories.make_run(entry=entry, seed=0)
        label = f"Euler of {name}"
        sample_set = factories.make_sample_set(run=run, entry=entry, sampler_label=label)
        factories.make_evaluation(sample_set=sample_set)


def asked(root: User) -> HttpRequest:
    request = HttpRequest()
    request.method, request.user = "GET", root
    return request


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [500, 1])
def test_a_search_finds_what_django_would_find(
    root: User, filled: None, kind: type[Job], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_search, "MOST_FOUND", most)
    shown: Any = admin.site.get_model_admin(kind)
    rows = kind._default_manager.order_by("-pk")
    fingerprint = Evaluation.objects.first().protocol.fingerprint[3:20]  # type: ignore[union-attr]
    searches = ["night", "NIGHT", "night one", '"night one"', "euler", "wide night", "igh", "zzz"]

    sizes = set()
    for text in [*searches, "%", "_", fingerprint, f"night {fingerprint}", "'"]:
        whole, _ = ModelAdmin.get_search_results(shown, asked(root), rows, text)
        found, repeats = shown.get_search_results(asked(root), rows, text)
        assert list(found) == list(whole)[:most], text
        assert not repeats
        sizes.add(len(whole))

    assert {0, 1} < sizes  # no search was empty of sense


def test_no_search_leaves_the_rows_as_they_are(root: User, filled: None) -> None:
    shown: Any = admin.site.get_model_admin(Run)

    rows, _ = shown.get_search_results(asked(root), Run.objects.all(), "")

    assert rows.count() == 3
    assert isinstance(shown, NarrowedSearch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_the_newest_that_match_says_so(
    admin: Client, filled: None, kind: type[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "The newest 2 that match are listed"

    assert told not in words(admin, address(kind, "?q=night"))
    monkeypatch.setattr(admin_search, "MOST_FOUND", 2)

    text = words(admin, address(kind, "?q=night"))

    assert told in text
    assert "2 results (" in text
    assert told not in words(admin, address(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_search_and_a_filter_go_together(admin: Client, filled: None, kind: type[Job]) -> None:
    (row,) = kind._default_manager.order_by("-pk")[:1]
    path = f"?q=night&status__exact={row.status}"

    assert str(row) in words(admin, address(kind, path))
    assert "0 results" in words(admin, address(kind, "?q=night&status__exact=cancelled"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", ["one", "two"]),
        ("one 'two three'", ["one", "two three"]),
        ('"one two" three', ["one two", "three"]),
        ("it's", ["it's"]),
        ("'", [""]),
        (" ", []),
    ],
)
def test_what_is_in_quotes_is_one_word(text: str, expected: list[str]) -> None:
    assert words_of(text) == expected


def test_a_search_asks_as_often_whatever_it_finds(
    admin: Client, filled: None, django_assert_max_num_queries: Any
) -> None:
    for text in ["night", "zzz", Evaluation.objects.latest("pk").protocol.fingerprint]:
        with django_assert_max_num_queries(13):
            admin.get(address(Evaluation, f"?q={text}"))
