"""Learning: words with formulas and pictures, heads that explain themselves, advice that can be run."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import SampleSet
from experiments.submission.plain import read_yaml
from experiments.submission.specification import read_experiment
from jobs.models import Status
from leaderboards.advice import fitting
from leaderboards.board import COSTS
from leaderboards.scores import keeping
from tests import factories
from tests.leaderboards import test_claims as claims
from tests.web import html
from web.learn import terms

pytestmark = pytest.mark.django_db


def test_every_word_has_a_page_that_leads_to_others(client: Client) -> None:
    listed = html.get(client, "/glossary/")
    for key, term in terms.TERMS.items():
        page = html.get(client, f"/glossary/{key}/")

        assert page.one("h1").text == term.title
        assert len(page.all("math")) == term.has_formula, key
        assert set(term.also) <= terms.TERMS.keys(), key
        assert term.said.short in listed.one("main").text
    assert client.get("/glossary/nonsense/").status_code == 404


def test_every_column_of_a_board_is_explained_by_a_word(client: Client) -> None:
    protocol = factories.make_protocol()
    factories.make_experiment(protocols=[protocol])

    page = html.get(client, reverse("leaderboard", args=[protocol.fingerprint]))

    heads = [e for e in page.walk() if e.attributes.get("class") == "explain"]
    assert {terms.of_column(key) for key in (*protocol.metrics, *(c.key for c in COSTS))} >= {
        terms.TERMS["fid"],
        terms.TERMS["memorisation"],
    }
    assert all(terms.of_column(key) for key in protocol.metrics)
    assert heads
    assert all(head.attributes["href"].startswith("/glossary/") for head in heads)
    assert any("Fréchet" in head.attributes["data-told"] for head in heads)


def test_a_word_shows_samples_from_here_else_a_packaged_picture(client: Client) -> None:
    assert "web/glossary/gan" in client.get("/glossary/gan/").text
    run = factories.make_run(status=Status.COMPLETED)
    drawn = factories.make_sample_set(run=run, status=Status.COMPLETED)
    drawn.grid_path.parent.mkdir(parents=True, exist_ok=True)
    drawn.grid_path.write_bytes(b"a picture")

    page = client.get("/glossary/gan/").text

    assert reverse("sample-grid", args=[drawn.pk]) in page
    assert run.entry.experiment.name in page


def test_advice_keeps_what_fits_and_says_what_nobody_knows(client: Client) -> None:
    experiment = claims.board()
    worker = factories.make_worker(device="CPU, 2 cores")
    for entry in experiment.entries.exclude(algorithm="vae.conv"):
        SampleSet.objects.create(
            entry=entry,
            sampler_label="direct",
            count=10,
            status=Status.COMPLETED,
            worker=worker,
            started_at=timezone.now(),
            finished_at=timezone.now(),
        )
    asked = {"dataset": experiment.dataset.slug, "device": "CPU, 2 cores"}

    found = client.get("/api/v1/advice/", {**asked, "seconds_per_image": "0.01"}).json()
    page = client.get("/advice/", {**asked, "seconds_per_image": "0.01"})

    assert [each["label"] for each in found["entries"]] == [
        "gan.sngan"
    ]  # 9 images a second are few
    assert (found["fitting"], found["unfit"], found["unmeasured"]) == (1, 1, 1)
    assert "1 of 3 fit" in page.text
    assert found["of_best"] is None
    both = client.get("/api/v1/advice/", asked).json()["entries"]
    assert [each["label"] for each in both] == ["diffusion.ddpm", "gan.sngan", "vae.conv"]


def test_advice_counts_the_best_rows_of_a_large_board_and_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = claims.board()
    monkeypatch.setattr(fitting, "COUNTED", 2)
    asked = {"dataset": experiment.dataset.slug, "seconds_per_image": "0.01"}

    found = client.get("/api/v1/advice/", asked).json()

    assert found["of_best"] == 2
    assert found["fitting"] + found["unfit"] + found["unmeasured"] == 2
    assert len(found["entries"]) == 2  # the third fits, too, and is among none of the counted
    assert "of the best 2 fit" in client.get("/advice/", asked).text


def test_advice_comes_with_a_submission_that_can_be_submitted(client: Client) -> None:
    protocol = factories.make_protocol()
    experiment = factories.make_experiment(
        protocols=[protocol], algorithms=["diffusion.ddpm"], seeds=[0, 1]
    )
    entry = factories.contenders_of(experiment)[0]
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 3.0}, {"fd": 4.0}])
    list(keeping.rescore())

    (found,) = client.get("/api/v1/advice/", {"dataset": protocol.dataset.slug}).json()["entries"]
    spec = read_experiment(read_yaml(found["yaml"]))

    assert (spec.entries[0].config, spec.entries[0].samplers) == (entry.config, entry.samplers)
    assert (spec.protocols, spec.seeds, spec.budget_images) == ([protocol], [0, 1], 1000)


def test_wrong_wishes_are_refused_at_their_fields(client: Client) -> None:
    asked = {"dataset": "nowhere", "seconds_per_image": "soon"}

    page, answer = client.get("/advice/", asked), client.get("/api/v1/advice/", asked)

    assert (page.status_code, answer.status_code) == (400, 400)
    assert {"dataset", "seconds_per_image"} <= answer.json()["errors"].keys()
    assert "expected a number of seconds above 0" in page.text
    assert client.get("/advice/").status_code == 200
