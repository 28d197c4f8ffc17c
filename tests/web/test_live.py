"""Parts that follow their rows: they ask again while something can change, and only then."""

import json

import pytest
from django.test import Client

from accounts.models import Role
from experiments import overview
from experiments.models import Experiment, LossPoint, Run
from experiments.progress import with_status
from generators.specs import registry
from generators.specs.options import describe
from jobs.models import FINISHED, Job, Status
from tests import factories
from tests.web import html, scenes

pytestmark = pytest.mark.django_db
REGIONS = {"run": ("status", "results", "timeline"), "experiment": ("standing", "boards")}


def polled(page: html.Element) -> list[str]:
    return [e.attributes["hx-get"] for e in page.walk() if "hx-trigger" in e.attributes]


def test_pages_ask_again_while_jobs_are_open_and_stop_when_all_are_finished(
    client: Client,
) -> None:
    live, done = scenes.running_comparison(), scenes.finished_comparison()

    assert len(polled(html.get(client, "/"))) == 1
    assert len(polled(html.get(client, live.experiment.get_absolute_url()))) == 4
    assert len(polled(html.get(client, live.run.get_absolute_url()))) == 3
    assert polled(html.get(client, done.experiment.get_absolute_url())) == []
    assert polled(html.get(client, done.run.get_absolute_url())) == []


def test_an_idle_home_page_asks_nothing(client: Client) -> None:
    assert polled(html.get(client, "/")) == []


def test_a_part_that_has_not_changed_is_not_sent_again(client: Client) -> None:
    run = factories.make_run(status=Status.QUEUED)
    (address,) = [a for a in polled(html.get(client, run.get_absolute_url())) if "timeline" in a]

    assert client.get(address).status_code == 204

    factories.make_run(entry=run.entry, status=Status.RUNNING)
    run.events.create(job_type="run", job_id=run.pk, kind="claimed", attempt=1, worker="celery@a")
    response = client.get(address)
    assert response.status_code == 200
    assert "celery@a" in html.body(response)
    assert polled(html.read(html.body(response))) != [address]


def test_the_last_answer_shows_the_end_and_asks_no_more(client: Client) -> None:
    run = factories.make_run(status=Status.RUNNING)
    (address,) = [a for a in polled(html.get(client, run.get_absolute_url())) if "status" in a]

    factories.make_run(entry=run.entry, status=Status.COMPLETED)
    part = html.read(html.body(client.get(address)))

    assert "completed" in part.text
    assert polled(part) == []


def test_an_unchanged_part_is_sent_once_more_when_everything_is_finished(client: Client) -> None:
    run = factories.make_run(status=Status.RUNNING)
    (address,) = [a for a in polled(html.get(client, run.get_absolute_url())) if "timeline" in a]

    factories.make_run(entry=run.entry, status=Status.COMPLETED)  # writes no event

    assert polled(html.read(html.body(client.get(address)))) == []


def test_every_part_is_the_same_in_the_page_and_alone(client: Client) -> None:
    scene = scenes.running_comparison()
    for page in (scene.run.get_absolute_url(), scene.experiment.get_absolute_url()):
        for address in polled(html.get(client, page)):
            alone = html.get(client, address.split("seen=")[0])
            assert alone.text in html.get(client, page).text


def test_parts_that_do_not_exist_are_named(client: Client) -> None:
    scene = scenes.running_comparison()
    for page, names in (
        (scene.run.get_absolute_url(), "status, results, timeline"),
        (scene.experiment.get_absolute_url(), "standing, boards, samples, runs"),
    ):
        text = html.get(client, f"{page}live/mood/", 404).text
        assert f"expected a part of the page ({names}), got 'mood'" in text


def test_a_part_of_an_experiment_keeps_its_seed_and_sort(client: Client) -> None:
    scene = scenes.running_comparison()
    page = html.get(client, f"{scene.experiment.get_absolute_url()}?seed=1&sort=recall&columns=all")

    assert all("seed=1&sort=recall&columns=all&seen=" in address for address in polled(page))
    links = [
        head.all("a")[0].attributes["href"] for head in page.all("th", class_name="ranking-head")
    ]
    assert all("seed=1" in link for link in links)


@pytest.mark.parametrize("seed", ["7", "x", "-1", "1.0"])
def test_a_seed_that_was_not_trained_is_a_404(client: Client, seed: str) -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    text = html.get(client, f"{experiment.get_absolute_url()}?seed={seed}", 404).text

    assert f"expected a seed of the experiment ([0, 1]), got '{seed}'" in text


# --- loss curves ----------------------------------------------------------------------------


def test_a_loss_curve_is_plain_data_with_absent_losses_as_null(client: Client) -> None:
    run = factories.make_run(status=Status.RUNNING)
    for images_seen, losses in ((100, {"a": 1.0}), (200, {"a": 0.5, "b": 2.0})):
        LossPoint.objects.create(
            run=run, images_seen=images_seen, wall_seconds=images_seen / 10, losses=losses
        )

    answer = client.get(f"/runs/{run.pk}/losses.json")

    assert json.loads(answer.content, parse_constant=pytest.fail) == {
        "finished": False,
        "words": {"a": "a", "b": "b"},
        "runs": [
            {
                "seed": 0,
                "images_seen": [100, 200],
                "wall_seconds": [10.0, 20.0],
                "losses": {"a": [1.0, 0.5], "b": [None, 2.0]},
            }
        ],
    }


def test_an_entrys_curves_are_finished_when_all_its_runs_are(client: Client) -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    (entry,) = factories.contenders_of(experiment)
    factories.make_run(entry=entry, seed=0, status=Status.COMPLETED, loss_points=2)

    answer = client.get(f"/entries/{entry.pk}/losses.json").json()
    assert [run["seed"] for run in answer["runs"]] == [0, 1]
    assert answer["finished"] is False

    factories.make_run(entry=entry, seed=1, status=Status.FAILED)
    assert client.get(f"/entries/{entry.pk}/losses.json").json()["finished"] is True


# --- what is running, where, how far --------------------------------------------------------


def test_home_shows_what_runs_where_and_how_far(client: Client) -> None:
    scene = scenes.running_comparison()

    training, scoring = html.get(client, "/").all("li", class_name="work")

    assert training.one("a", href=scene.run.get_absolute_url()).text == "SNGAN"
    assert training.one("progress").attributes["value"] == "50"
    for fact in ("training seed 0", "100 img/s", "5.0 s left", "Still running", "celery@node"):
        assert fact in training.text
    assert "evaluating seed 0, direct: recall" in scoring.text
    assert "5 jobs waiting" in html.get(client, "/").text  # a run and four controls


@pytest.mark.parametrize("status", [s.value for s in Status])
def test_the_overview_and_the_experiment_agree_on_its_status(status: str) -> None:
    for others in (None, Status.QUEUED, Status.COMPLETED, Status.FAILED):
        experiment = factories.make_experiment(seeds=[0, 1])
        (entry,) = factories.contenders_of(experiment)
        for control in factories.controls_of(experiment):
            factories.make_sample_set(entry=control)
        factories.make_run(entry=entry, seed=0, status=status)
        factories.make_run(entry=entry, seed=1, status=others or status)

        standing = overview.standings([experiment])[experiment.pk]

        assert standing.status == experiment.status
        named = [s for s in Status if s != Status.CANCELLING]
        listed = [s for s in named if experiment in with_status(Experiment.objects.all(), s)]
        assert listed == [experiment.status]
        assert (standing.runs_total, experiment.jobs() != []) == (2, True)
    assert Experiment.objects.count() == 4


def test_a_queued_run_says_what_it_waits_for(client: Client) -> None:
    run = factories.make_run()
    page = html.get(client, run.get_absolute_url()).one("div", class_name="run-status")
    assert "No worker is online for the queue gpu; next in the queue." in page.text

    factories.make_worker()
    page = html.get(client, run.get_absolute_url()).one("div", class_name="run-status")
    assert "Next in the queue." in page.text


def test_a_failed_run_shows_reason_traceback_and_timeline(client: Client) -> None:
    scene = scenes.running_comparison()
    failed = next(run for run in scene.runs if run.status == Status.FAILED)
    client.force_login(factories.make_user(role=Role.ADMIN))

    page = html.get(client, failed.get_absolute_url())

    assert "out of memory" in page.one("p", class_name="run-reason").text
    assert "MemoryError" in page.one("pre", class_name="traceback").text
    assert "queued training" in page.one("ol", class_name="timeline").text
    assert "None: the training did not complete." in page.text


@pytest.mark.parametrize("kind", ["run", "sampleset", "evaluation"])
def test_a_traceback_is_shown_to_its_owner_and_admins_alone(client: Client, kind: str) -> None:
    run, job = failed_job(kind)
    address = run.get_absolute_url()
    parts = [address, f"{address}live/{'status' if kind == 'run' else 'results'}/"]

    for part in parts:
        page = html.get(client, part)
        assert "out of memory" in page.text
        assert "MemoryError" not in page.text and page.all("details") == []
        assert "Sign in to see the traceback of your own run." in page.text
        assert page.all("a", href=f"/login/?next={address}")

    client.force_login(factories.make_user())
    for part in parts:
        page = html.get(client, part)
        assert "MemoryError" not in page.text and page.all("details") == []
        assert "Who submitted it and admins see the traceback." in page.text

    client.force_login(factories.make_user(role=Role.ADMIN))
    for part in parts:
        page = html.get(client, part)
        assert job.error == page.one("pre", class_name="traceback").one("code").children[0]
        assert "Sign in to see" not in page.text


def failed_job(kind: str) -> tuple[Run, Job]:
    """Return a failed job of a kind with the run on whose page it stands."""
    if kind == "run":
        run = factories.make_run(status=Status.FAILED)
        return run, run
    run = factories.make_run(status=Status.COMPLETED)
    if kind == "sampleset":
        return run, factories.make_sample_set(run=run, status=Status.FAILED)
    drawn = factories.make_sample_set(run=run)
    return run, factories.make_evaluation(sample_set=drawn, status=Status.FAILED)


def test_a_run_without_an_error_asks_nobody_to_sign_in_for_it(client: Client) -> None:
    run = factories.make_run(status=Status.COMPLETED)

    assert "traceback" not in html.get(client, run.get_absolute_url()).text.lower()


def test_a_runs_page_shows_its_scores_with_intervals_and_exact_values(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    run = next(r for r in scene.runs if r.entry.algorithm == "diffusion.ddpm")
    evaluation = next(e for e in scene.evaluations if e.sample_set.run_id == run.pk)

    page = html.get(client, run.get_absolute_url())

    first = page.all("table", class_name="table-scores")[0]
    heads = [row.one("th").text for row in first.one("tbody").all("tr")]
    assert heads[0] == "FD[classifier] ↓" and heads[-1] == "NN[classifier] authenticity ↑"
    value = evaluation.values.get(metric="fd")
    assert first.one("td", data_metric="fd").attributes["data-value"] == repr(value.bias_corrected)
    assert "± " in first.text
    assert [a.text for a in page.all("h3")] == ["DDIM 50", "DPM-Solver++ 20"]


def test_entries_of_a_family_show_only_what_differs(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page = html.get(client, scene.experiment.get_absolute_url())

    shortest = page.all("table", class_name="table-config")[1]  # after the GAN's whole table

    fields = {row.one("th").text: [d.text for d in row.all("td")] for row in shortest.all("tr")[1:]}
    assert fields == {"variant": ["sigma", "beta"], "beta": ["1", "4"]}
    every = len(describe(registry.get_spec("vae.conv").config)) + 2  # the algorithm, the samplers
    assert f"2 of {every} fields differ." in page.text


def test_columns_show_the_seed_that_was_chosen(client: Client) -> None:
    scene = scenes.finished_comparison(seeds=2)
    address = scene.experiment.get_absolute_url()

    def pictures(page: html.Element) -> set[str]:
        return {image.attributes["src"].split("?")[0] for image in page.all("img")[1:]}

    zero, one = html.get(client, address), html.get(client, f"{address}?seed=1")
    controls = {f"/samples/{s.pk}.png" for s in scene.sample_sets if s.run is None}
    assert pictures(zero) & pictures(one) == controls
    wanted = {s.pk for s in scene.sample_sets if s.run is None or s.run.seed == 1}
    assert pictures(one) == {f"/samples/{pk}.png" for pk in wanted}


def test_the_control_is_not_said_to_be_drawn_from_a_seed(client: Client) -> None:
    page = html.get(client, scenes.finished_comparison(seeds=1).experiment.get_absolute_url())

    assert "of every generated column was drawn from the same sample seed." in page.text


def test_a_column_shows_the_latest_preview_until_there_are_samples(client: Client) -> None:
    scene = scenes.running_comparison()
    latest = scenes.add_preview(scene.run, images_seen=400)

    page = html.get(client, scene.experiment.get_absolute_url())

    sources = [image.attributes["src"] for image in page.all("img", class_name="grid-image")]
    assert f"/checkpoints/{latest.pk}.png?v={latest.sha256[:12]}" in sources
    assert not Run.objects.filter(pk=scene.run.pk, status__in=FINISHED).exists()
    strip = html.get(client, scene.run.get_absolute_url()).all("figure", class_name="strip-item")
    assert [figure.text for figure in strip] == ["300 images", "400 images"]
