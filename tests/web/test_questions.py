"""The box that asks what each model would draw, and the page of the answer."""

from contextlib import closing

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import Role, User
from experiments.models import Experiment, Question
from jobs.models import Status
from tests import factories
from tests.web import html
from tests.web.test_live import polled

pytestmark = pytest.mark.django_db
TEXT = "a red shape"


@pytest.fixture
def experiment() -> Experiment:
    experiment = factories.make_scenes_experiment(seeds=[3, 5])
    entry = factories.contenders_of(experiment)[0]
    factories.make_checkpoint(run=factories.make_run(entry=entry, seed=5, status=Status.COMPLETED))
    return experiment


def address(experiment: Experiment) -> str:
    return f"/experiments/{experiment.pk}/prompts/?seed=5"


def form(page: html.Element) -> html.Element:
    return page.one("form", class_name="ask")


def test_what_is_asked_is_queued_and_leads_to_a_page_of_its_own(
    client: Client, ada: User, experiment: Experiment
) -> None:
    page = html.get(client, address(experiment))
    assert "1 trained entry draws from the same seeds" in form(page).text
    assert "red" in form(page).one("details").text

    response = client.post(
        address(experiment), {"text": f"  {TEXT} ", "images": "2", "first_seed": "9"}
    )

    question = Question.objects.get()
    assert response["Location"] == f"/questions/{question.pk}/"
    assert (question.text, question.training_seed, list(question.seeds)) == (TEXT, 5, [9, 10])
    assert question.created_by == ada
    shown = html.get(client, response["Location"])
    assert "no worker is online for the queue gpu" in shown.text.lower()
    assert len(polled(shown)) == 1
    assert TEXT in form(html.get(client, address(experiment))).text  # among "yours"


def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(
    client: Client, ada: User, experiment: Experiment
) -> None:
    typed = {"text": "a <b>purple</b> hippo", "images": "9", "first_seed": "0"}

    response = client.post(address(experiment), typed)

    box = form(html.read(html.body(response)))
    (text,) = (each for each in box.all("input") if each.attributes["name"] == "text")
    assert text.attributes["value"] == typed["text"]
    assert text.attributes["aria-describedby"] == "ask-text-error"
    assert "does not know 'b', 'purple'" in box.one("p", id="ask-text-error").text
    assert "1 to 8, got '9'" in box.one("p", id="ask-images-error").text
    assert not Question.objects.exists()


def test_who_asks_too_much_reads_so_at_the_field(
    client: Client, ada: User, experiment: Experiment, settings: Settings
) -> None:
    settings.QUESTIONS_UNFINISHED = 1
    client.post(address(experiment), {"text": TEXT})

    page = html.read(html.body(client.post(address(experiment), {"text": TEXT})))

    assert "1 question of yours may wait" in form(page).one("p", id="ask-text-error").text
    assert Question.objects.count() == 1


def test_strangers_and_viewers_see_no_box_and_cannot_ask(
    client: Client, experiment: Experiment
) -> None:
    page = html.get(client, address(experiment))
    assert page.all("form", class_name="ask") == [] and "Sign in to ask" in page.text
    refused = client.post(address(experiment), {"text": TEXT})
    assert refused["Location"].startswith("/login/?next=/experiments/")
    client.force_login(factories.make_user(role=Role.VIEWER))
    assert "Your account reads" in html.get(client, address(experiment)).text
    assert client.post(address(experiment), {"text": TEXT}).status_code == 403
    assert not Question.objects.exists()


def test_a_stranger_with_the_link_sees_what_was_drawn_and_read(client: Client) -> None:
    question = factories.make_question(status=Status.COMPLETED)

    page = html.get(client, question.get_absolute_url())

    heads = [head.text for head in page.one("thead").all("th")]
    assert heads == ["Entry", "seed 7", "seed 8"]
    assert "✓ follows" in page.text and "a small red circle" in page.text
    assert "? unparsed" in page.text
    assert "could not draw weights are lost" in page.text
    assert polled(page) == []
    picture = f"/answers/{question.pk}.png?v={question.sha256[:12]}"
    assert [each.attributes["href"] for each in page.all("image")] == [picture] * 2
    with closing(client.get(picture)) as answer:
        assert "immutable" in answer["Cache-Control"]


def test_the_page_follows_the_job_and_says_why_it_failed(client: Client) -> None:
    question = factories.make_question(status=Status.RUNNING)
    Question.objects.filter(pk=question.pk).update(entries_done=1, entries_total=4)
    (part,) = polled(html.get(client, question.get_absolute_url()))

    assert "1 of 4 entries have drawn" in html.get(client, part.split("?")[0]).text
    factories._put(question, Status.FAILED, {"reason": "no entry could draw it"})
    ended = html.read(html.body(client.get(part)))

    assert "no entry could draw it" in ended.text and polled(ended) == []


def test_who_asked_cancels_it_and_others_do_not(
    client: Client, ada: User, experiment: Experiment
) -> None:
    question = factories.make_question(user=ada)
    other = factories.make_question()
    page = html.get(client, question.get_absolute_url())

    response = client.post(page.one("button", id="cancel").attributes["formaction"], follow=True)

    assert response.redirect_chain == [(question.get_absolute_url(), 302)]
    question.refresh_from_db()
    assert question.status == Status.CANCELLED
    assert html.get(client, other.get_absolute_url()).all("button", id="cancel") == []
    assert client.post(f"/jobs/question/{other.pk}/cancel/").status_code == 403
    client.post(f"/jobs/question/{question.pk}/retry/")
    question.refresh_from_db()
    assert question.status == Status.CANCELLED  # asking again counts, retrying would not


def test_workers_say_that_they_draw_an_answer(client: Client) -> None:
    question = factories.make_question(status=Status.RUNNING)

    for page in ("/workers/", "/"):
        assert f"{question} drawing with 1 entries" in html.get(client, page).text
