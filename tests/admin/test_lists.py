"""Lists and pages of the admin: what is running, where, how far; cancel and retry."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.admin import FewOf
from accounts.models import Role
from catalog.models import Dataset
from experiments.models import Evaluation, Experiment, Run, SampleSet, Viewing
from jobs import lifecycle
from jobs.models import Job, Status, Worker
from tests import factories
from tests.web.forms import read_form

KINDS: list[type[Job]] = [Run, SampleSet, Evaluation]
pytestmark = pytest.mark.django_db


def address(model: Any, rest: str = "") -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/{rest}"


def words(client: Client, path: str) -> str:
    """Return the text of a page, without tags and with single spaces."""
    response = client.get(path)
    assert response.status_code == 200
    html = re.sub(r"(?s)<(script|style|select)\b.*?</\1>", " ", response.content.decode())
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def act(client: Client, model: Any, action: str, *rows: Any) -> str:
    """Return the message after an action on some rows of a list."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    response = client.post(address(model), data, follow=True)
    return " ".join(str(message) for message in response.context["messages"])


def make_job(kind: type[Job], status: str) -> Any:
    makers: dict[type[Job], Any] = {
        Run: factories.make_run,
        SampleSet: factories.make_sample_set,
        Evaluation: factories.make_evaluation,
    }
    return makers[kind](status=status)


def test_the_list_of_experiments_says_how_far_each_is(admin: Client) -> None:
    protocol = factories.make_protocol(dataset=factories.make_dataset(slug="digits"))
    experiment = factories.make_experiment(name="mine", protocols=[protocol], seeds=[0, 1])
    (entry,) = factories.contenders_of(experiment)
    factories.make_run(entry=entry, seed=0, status=Status.FAILED)
    factories.make_run(entry=entry, seed=1, status=Status.RUNNING)

    text = words(admin, address(Experiment))

    assert f"mine running 0/14 jobs, 1 failed digits {protocol.short} 1,000 images seen 2" in text


def test_experiments_are_found_by_their_status(admin: Client) -> None:
    factories.make_experiment(name="waiting one")
    done = factories.make_run(status=Status.RUNNING).entry.experiment

    text = words(admin, address(Experiment, "?status=running"))

    assert done.name in text
    assert "waiting one" not in text


def test_a_long_list_of_experiments_takes_no_more_queries_than_a_short_one(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(6):
        factories.make_experiment(algorithms=["gan.sngan", "vae.conv"])

    with django_assert_max_num_queries(16):
        admin.get(address(Experiment))


def test_an_experiment_is_frozen_and_leads_to_its_jobs(admin: Client) -> None:
    experiment = factories.make_experiment(name="frozen")
    path = address(Experiment, f"{experiment.pk}/change/")

    page = admin.get(path).content.decode()

    controls = read_form(page).limits
    assert {control["type"] for name, control in controls.items() if name} == {"hidden"}
    assert f'href="{experiment.get_absolute_url()}"' in page
    for link in re.findall(r'href="(/admin/experiments/[a-z]+/\?[^"]+)"', page):
        assert admin.get(link).status_code == 200
    assert '<th scope="row">latent_dim</th><td>64</td>' in page
    assert admin.post(path, {"name": "other"}).status_code == 403
    assert admin.post(address(Experiment, f"{experiment.pk}/delete/")).status_code == 403


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", list(Status))
def test_every_job_in_every_state_has_a_line_and_a_page(
    admin: Client, kind: type[Job], status: Status
) -> None:
    job = make_job(kind, status)

    line = words(admin, address(kind))
    page = words(admin, address(kind, f"{job.pk}/change/"))

    assert str(status) in line
    assert f"Status {status}" in page
    assert admin.get(address(kind, "add/")).status_code == 403


def test_a_running_job_says_where_it_is_and_how_far(admin: Client) -> None:
    worker = factories.make_worker(name="celery@gpu-7")
    run = factories.make_run(status=Status.RUNNING, worker=worker)

    text = words(admin, address(Run))

    assert f"{run} {run.entry.experiment} running celery@gpu-7 50 %, 500 images seen" in text
    assert "100 images/s 1 " in text


def test_a_failed_job_shows_its_reason_and_its_traceback(admin: Client) -> None:
    run = factories.make_run(status=Status.FAILED)

    assert "failed out of memory" in words(admin, address(Run))
    assert "Error Traceback MemoryError" in words(admin, address(Run, f"{run.pk}/change/"))


def test_a_queued_job_says_what_it_waits_for(admin: Client) -> None:
    factories.make_run()

    assert "queued no worker is online for the queue gpu" in words(admin, address(Run))


def test_the_timeline_of_a_job_is_on_its_page(admin: Client) -> None:
    run = factories.make_run()
    claimed = lifecycle.claim(Run, run.pk, factories.make_worker(name="celery@node"))
    assert claimed is not None
    lifecycle.fail(claimed, "the <loss> is not finite")

    text = words(admin, address(Run, f"{run.pk}/change/"))

    events = re.findall(r"(?:queued|claimed|failed) \d (?:–|celery@node)", text)
    assert events == ["queued 0 –", "claimed 1 celery@node", "failed 1 celery@node"]
    assert "the &lt;loss&gt; is not finite" in text


def test_lists_are_filtered_by_the_first_rows_of_others_and_the_chosen_one(admin: Client) -> None:
    for _ in range(FewOf.most + 2):
        factories.make_dataset()
    last = Dataset.objects.latest("pk")
    here = "/admin/experiments/experiment/"

    whole, chosen = (
        set(re.findall(r"dataset__id__exact=([0-9]+)", admin.get(here + query).content.decode()))
        for query in ("", f"?dataset__id__exact={last.pk}")
    )

    assert len(whole) == FewOf.most
    assert chosen == whole | {str(last.pk)} != whole
    assert admin.get(f"{here}?dataset__id__exact=x").status_code == 302


def test_jobs_are_filtered(admin: Client) -> None:
    run = factories.make_run(status=Status.FAILED, seed=3)
    factories.make_run(seed=4)

    for query in (
        "status__exact=failed",
        "seed=3",
        f"entry__experiment__id__exact={run.entry.experiment_id}",
    ):
        text = words(admin, address(Run, f"?{query}"))
        assert "seed 3" in text, query
        assert "seed 4" not in text, query


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_are_cancelled_and_retried_and_the_message_says_how_many(
    admin: Client, kind: type[Job]
) -> None:
    queued, running, completed = (
        make_job(kind, status) for status in (Status.QUEUED, Status.RUNNING, Status.COMPLETED)
    )

    cancelled = act(admin, kind, "cancel_jobs", queued, running, completed)
    retried = act(admin, kind, "retry_jobs", queued)

    assert (
        cancelled == "2 of 3 cancelled or asked to stop; the others had finished or are not yours."
    )
    assert retried == "1 of 1 queued again."
    for job, status in (
        (queued, Status.QUEUED),
        (running, Status.CANCELLING),
        (completed, Status.COMPLETED),
    ):
        job.refresh_from_db()
        assert job.status == status


def test_experiments_are_cancelled_and_retried_and_the_message_says_how_many(
    admin: Client,
) -> None:
    experiment = factories.make_experiment(seeds=[0, 1])

    assert act(admin, Experiment, "cancel_experiments", experiment) == (
        "6 jobs cancelled or asked to stop."
    )
    assert act(admin, Experiment, "retry_experiments", experiment) == "6 jobs queued again."
    assert act(admin, Experiment, "retry_experiments", experiment) == "0 jobs queued again."


def test_who_did_not_submit_cannot_cancel() -> None:
    client = Client()
    client.force_login(factories.make_user(role=Role.SUBMITTER))
    run = factories.make_run()  # of somebody else

    assert str(run) in words(client, address(Run))
    act(client, Run, "cancel_jobs", run)

    run.refresh_from_db()
    assert run.status == Status.QUEUED


def test_the_values_of_an_evaluation_are_on_its_page_under_their_honest_names(
    admin: Client,
) -> None:
    evaluation = factories.make_evaluation(values={"fd": 2.5, "kd": None})

    text = words(admin, address(Evaluation, f"{evaluation.pk}/change/"))

    assert "FD[classifier] 2.5" in text
    assert "not defined here" in text


def test_the_list_of_workers_says_who_lives_and_what_each_does(admin: Client) -> None:
    here = factories.make_worker(name="celery@here", device="NVIDIA H200", memory_bytes=2**37)
    factories.make_worker(name="celery@gone", alive=False)
    run = factories.make_run(status=Status.RUNNING, worker=here)

    text = words(admin, "/admin/jobs/worker/")

    assert "celery@here node gpu, default NVIDIA H200 128.0" in text
    assert str(run) in text.partition("celery@here")[2]
    page = admin.get(f"/admin/jobs/worker/{here.pk}/change/")
    assert page.status_code == 200


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [("drain", "", "drain"), ("stop", "drain", "stop"), ("take_jobs", "drain", "")],
)
def test_a_worker_is_told_to_drain_stop_or_take_jobs(
    admin: Client, action: str, before: str, after: str
) -> None:
    worker, ending = factories.make_worker(order=before), factories.make_worker(order="stop")
    chosen = {"action": action, "_selected_action": [worker.pk, ending.pk]}

    page = admin.post(address(Worker), chosen, follow=True).content.decode()

    worker.refresh_from_db()
    ending.refresh_from_db()
    assert (worker.order, ending.order) == (after, "stop")  # whoever ends does not come back
    assert "1 of 2 workers" in page


def test_pages_with_many_rows_of_others_ask_as_little_as_with_few(
    admin: Client, django_assert_max_num_queries: Any
) -> None:
    values = dict.fromkeys(["fd", "kd", "precision", "recall", "density", "coverage"], 0.5)
    evaluation = factories.make_evaluation(values=values)
    experiment = factories.make_experiment(algorithms=["gan.sngan", "vae.conv", "diffusion.edm"])

    with django_assert_max_num_queries(13):
        values_shown = words(admin, address(Evaluation, f"{evaluation.pk}/change/"))
    with django_assert_max_num_queries(13):
        entries_shown = words(admin, address(Experiment, f"{experiment.pk}/change/"))

    assert values_shown.count(" 0.5 ") == len(values)
    assert "Metric Value Bias corrected Standard error Low High Reason" in values_shown
    assert all(str(entry) in entries_shown for entry in experiment.entries.all())
    assert "Label Kind Algorithm Samplers Configuration" in entries_shown


def test_the_page_of_a_viewing_says_what_the_viewing_told(
    admin: Client,
) -> None:
    run = factories.make_run(status=Status.COMPLETED)
    viewing = Viewing.objects.create(run=run, kind="truncation", first=0, told="no truncation here")

    text = words(admin, address(Viewing, f"{viewing.pk}/change/"))

    assert "no truncation here" in text
    assert "Status queued" in text
