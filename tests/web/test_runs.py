"""What pages say of time: stages of a run, what is expected, what is left, and what waits."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.comparison import ExperimentJobs
from experiments.lifetime import expected
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet
from experiments.pages.losses import words_of
from experiments.pages.stages import Stage, stages
from experiments.submission import costs
from jobs.models import Status, Worker
from tests import factories
from tests.web import html, scenes

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def at(job: Any, **seconds: float) -> Any:
    """Give a job times, in seconds from now."""
    for name, offset in seconds.items():
        setattr(job, f"{name}_at", NOW + timedelta(seconds=offset))
    job.save()
    return job


def shown(run: Run) -> dict[str, Stage]:
    sets = list(SampleSet.objects.filter(run=run))
    evaluations = list(Evaluation.objects.filter(sample_set__in=sets))
    return {stage.name: stage for stage in stages(run, sets, evaluations)}


def test_a_finished_run_says_how_long_each_stage_took() -> None:
    run = at(factories.make_run(status=Status.COMPLETED), queued=0, started=10, finished=70)
    drawn = at(factories.make_sample_set(run=run), started=70, finished=75)
    at(factories.make_evaluation(sample_set=drawn), started=80, finished=90)

    found = shown(run)

    assert {name: stage.seconds for name, stage in found.items()} == {
        "Queued": 10,
        "Training": 60,
        "Sampling": 5,
        "Scoring": 10,
        "Done": 90,
    }
    assert {stage.status for stage in found.values()} == {"completed"}


def test_stages_that_are_to_come_say_nothing_and_one_that_failed_says_so() -> None:
    run = at(factories.make_run(status=Status.COMPLETED), queued=0, started=10, finished=70)
    factories.make_sample_set(run=run, status=Status.FAILED)

    found = shown(run)

    assert [stage.status for stage in found.values()] == [
        "completed",
        "completed",
        "failed",
        "",
        "",
    ]
    assert found["Scoring"].seconds is None and found["Done"].seconds is None


def test_a_queued_run_shows_since_when_and_several_samplers_are_counted(client: Client) -> None:
    experiment = factories.make_experiment(
        entries=[{"algorithm": "diffusion.ddpm", "samplers": [scenes.DDIM, scenes.SOLVER]}]
    )
    (entry,) = factories.contenders_of(experiment)
    run = factories.make_run(entry=entry)
    assert shown(run)["Queued"].since == run.queued_at
    assert shown(run)["Training"] == Stage("Training", "")

    run = factories.make_run(entry=entry, status=Status.COMPLETED)
    factories.make_sample_set(run=run, sampler=scenes.DDIM)

    assert shown(run)["Sampling"].detail == "1 of 2"
    assert "1 of 2" in html.get(client, run.get_absolute_url()).one("ol", class_name="stages").text


# --- what is expected -------------------------------------------------------------------------


def like(run: Run, **fields: Any) -> Run:
    """Return a finished run of another experiment whose entry is configured the same."""
    before = run.entry.experiment
    experiment = factories.make_experiment(
        dataset=before.dataset, protocols=list(before.protocols.all())
    )
    (entry,) = factories.contenders_of(experiment)
    Entry.objects.filter(pk=entry.pk).update(algorithm=run.entry.algorithm, config=run.entry.config)
    return factories.make_run(entry=entry, status=Status.COMPLETED, **fields)


def test_a_run_that_waits_is_expected_to_take_what_earlier_ones_did(client: Client) -> None:
    run = factories.make_run()
    assert expected.of_run(run) is None
    like(run, images_seen=2000, device_seconds=40.0)

    found = expected.of_run(run)

    images = run.entry.experiment.budget_images or 0
    assert found == expected.Expected(40.0 / 2000 * images, 1)
    assert f"{costs.about(found.seconds)} of training, as 1 earlier run did" in found.words
    assert found.words[1:] in html.get(client, run.get_absolute_url()).text


def test_runs_on_the_devices_that_are_online_tell_more_than_others() -> None:
    run = factories.make_run()
    slow = factories.make_worker(host="old", device="CPU, 1 core", alive=False)
    fast = factories.make_worker(host="gpu-1", device="NVIDIA H100")
    like(run, images_seen=1000, device_seconds=100.0, worker=slow)
    like(run, images_seen=1000, device_seconds=1.0, worker=fast)

    found = expected.of_run(run)

    assert found is not None and found.runs == 1
    assert found.seconds == pytest.approx(0.001 * (run.entry.experiment.budget_images or 0))


def left(experiment: Experiment) -> expected.Left:
    """Return what is left, as the rows that were loaded for it say, and as whole rows do."""
    rows = (ExperimentJobs.outline(experiment), ExperimentJobs.of(experiment))
    found, whole = (expected.of_experiment(experiment, each, Worker.objects.all()) for each in rows)
    assert found == whole
    return found


def test_an_experiment_says_what_is_left_from_its_own_progress(client: Client) -> None:
    experiment = factories.make_experiment(seeds=[0, 1], entries=[{"algorithm": "vae.conv"}])
    (entry,) = factories.contenders_of(experiment)
    controls = SampleSet.objects.filter(entry__experiment=experiment, run=None)
    for each in controls:
        factories.make_sample_set(entry=each.entry)
        factories.make_evaluation(sample_set=each)
    times = {"started": 0, "finished": 4}
    for kind in (SampleSet, Evaluation):
        for job in kind.objects.all():
            at(job, **times)
    run = factories.make_run(entry=entry, seed=0, status=Status.COMPLETED, device_seconds=100.0)
    factories.make_run(entry=entry, seed=1, status=Status.RUNNING, device_seconds=25.0, budget_fraction=0.25)  # fmt: skip
    drawn = at(factories.make_sample_set(run=run), started=0, finished=10)
    at(factories.make_evaluation(sample_set=drawn), started=0, finished=4)

    found = left(experiment)

    # three quarters of a training of 100 s, a draw of 10 s and an evaluation of 4 s
    assert found.seconds == pytest.approx(75 + 10 + 4) and found.unknown == ()
    assert "about 89 s left" in html.get(client, experiment.get_absolute_url()).text


def test_parts_that_nobody_knows_are_named(client: Client) -> None:
    run = factories.make_run(status=Status.RUNNING, device_seconds=50.0, budget_fraction=0.5)

    words = left(run.entry.experiment).words

    assert words == "about 50 s left with 1 worker; drawing and scoring on top, unknown"


def test_earlier_scores_under_the_protocol_tell_what_another_takes() -> None:
    run = factories.make_run(status=Status.RUNNING, device_seconds=50.0, budget_fraction=0.5)
    before = factories.make_sample_set(run=like(run))
    at(factories.make_evaluation(sample_set=before), started=0, finished=3)
    experiment = run.entry.experiment
    scores = expected.sets_in_all(ExperimentJobs.of(experiment))

    found = left(experiment)

    assert found.unknown == ("drawing",) and found.seconds == pytest.approx(50 + 3 * scores)


def test_nothing_is_promised_where_nothing_is_known_and_nothing_asked_of_many_entries(
    client: Client,
) -> None:
    experiment = factories.make_experiment(
        entries=[{"algorithm": "vae.conv", "label": f"{n}"} for n in range(12)]
    )
    jobs = ExperimentJobs.outline(experiment)

    with CaptureQueriesContext(connection) as queries:
        found = expected.of_experiment(experiment, jobs, list(Worker.objects.all()))

    assert found.words == "" and len(queries) <= 5
    assert " left with" not in html.get(client, experiment.get_absolute_url()).text


# --- what waits -------------------------------------------------------------------------------


def test_an_experiment_says_what_is_next_and_why_it_waits(client: Client) -> None:
    experiment = factories.make_experiment(seeds=[0, 1])
    factories.make_worker(queues=["gpu"])

    standing = html.get(client, experiment.get_absolute_url()).one("p", class_name="standing-waits")

    assert "is the next to begin: no worker is online for the queue default" in standing.text


def test_the_queue_is_shown_in_the_order_in_which_it_is_taken(client: Client) -> None:
    factories.make_worker()
    assert "Nothing waits." in html.get(client, "/workers/").text
    scene = scenes.running_comparison()
    factories.make_sample_set(run=scene.runs[2], status=Status.QUEUED)

    page = html.get(client, "/workers/")

    lines = page.all("ol", class_name="queue")[-1].all("li")
    assert "sampling" in lines[0].text and "next in the queue" in lines[0].text
    assert "training seed 1" in lines[-1].text and "ahead" in lines[-1].text
    assert f"{len(lines)} jobs in the queue gpu" in page.text


# --- losses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mse_q0", "error, lowest quarter of noise"),
        ("tuning_q3", "disagreement of two noise levels, highest quarter of noise"),
        ("logit_fake", "verdict on generated images"),
        ("of_a_plugin", "of a plugin"),
    ],
)
def test_losses_are_said_in_words(name: str, words: str) -> None:
    assert words_of(name) == words
