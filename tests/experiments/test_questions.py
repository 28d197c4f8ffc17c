"""Questions: trained entries draw words of somebody's own, within what one person may ask."""

import shutil
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from PIL import Image
from pytest_django.fixtures import Settings

from accounts.models import User
from evaluation.imagesets.writing import grid_png
from evaluation.scenes.claims import Claim, Claims
from evaluation.scenes.drawing import scene_of
from evaluation.scenes.rendering import render
from evaluation.scenes.wording import in_words
from experiments import tasks
from experiments.answers import asking, work
from experiments.models import Evaluation, Experiment, Question, Run, SampleSet
from experiments.submission.specification import SpecificationError
from generators.specs import registry
from generators.trained import sampling
from jobs import lifecycle
from jobs.execution import Heartbeat, JobStopped
from jobs.models import JobEvent, Status
from operations import garbage
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
TINY: list[dict[str, Any]] = [
    {"algorithm": "vae.conv", "config": {"base_channels": 4, "batch_size": 20}},
    {
        "algorithm": "diffusion.ddpm",
        "config": {"base_channels": 8, "timesteps": 10, "label_dropout": 0.1, "batch_size": 20},
        "samplers": [{"name": "ddim", "steps": 2, "guidance": [0, 3]}],
    },
    {
        "algorithm": "vae.conv",
        "label": "deaf",
        "config": {"base_channels": 4, "batch_size": 20, "conditional": False},
    },
]


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def trained(*entries: dict[str, Any]) -> Experiment:
    experiment = factories.make_scenes_experiment(
        entries=entries or TINY[:1], files=True, budget={"images": 20}
    )
    Evaluation.objects.all().delete()
    while run := Run.objects.filter(status=Status.QUEUED).first():
        SampleSet.objects.all().delete()  # which a worker would take first
        tasks.train_run(run.pk)
        run.refresh_from_db()
        assert run.status == Status.COMPLETED, run.error
    SampleSet.objects.all().delete()
    return experiment


def known_text(experiment: Experiment) -> str:
    prompts = experiment.protocols.get().prompt_set
    assert prompts is not None
    return str(prompts.record["prompts"][0]["text"])


def ask(experiment: Experiment, *, user: User | None = None, **data: Any) -> Question:
    data = {"text": known_text(experiment), "images": 2, **data}
    return asking.ask(experiment, data, user=user or factories.make_user())


def answered(question: Question) -> Question:
    tasks.answer_question(question.pk)
    question.refresh_from_db()
    return question


def test_every_trained_entry_draws_the_words_from_the_same_seeds() -> None:
    experiment = trained(*TINY)

    question = answered(ask(experiment, images=3, first_seed=5))

    assert question.status == Status.COMPLETED, question.error
    vae, ddpm, deaf = question.answers
    assert [each["told"] for each in question.answers] == [True, True, False]
    assert (ddpm["sampler"], ddpm["row"], ddpm["error"]) == ("DDIM 2 w=3", 1, "")
    assert [image["seed"] for image in vae["images"]] == [5, 6, 7]
    assert {image["follows"] for image in deaf["images"]} <= {None, False, True}
    assert (question.judge, question.entries_done, question.percent) == ("scenes-1", 3, 100)
    run = Run.objects.get(pk=vae["run"])
    checkpoint = run.checkpoints.last()
    assert checkpoint is not None
    generator = sampling.load_generator(django_settings.DATA_DIR / checkpoint.path)
    (alone,) = sampling.draw(
        generator,
        registry.parse_sampler("vae.conv", {}),
        seeds=[6],
        captions=[question.text],
        batch_size=1,
    )
    sheet = np.asarray(Image.open(question.path))
    second = sheet[1:65, 66:130].reshape(32, 2, 32, 2, 3)[:, 0, :, 0]  # doubled, with gaps of 1
    assert np.abs(second.astype(int) - alone[0].transpose(1, 2, 0).astype(int)).max() <= 1
    assert sheet.shape == (1 + 3 * 65, 1 + 3 * 65, 3)
    assert list(garbage.damage()) == []


def test_an_entry_that_cannot_draw_says_why_and_the_others_draw() -> None:
    experiment = trained(TINY[0], TINY[2])
    first, second = Run.objects.order_by("entry__position")
    shutil.rmtree(django_settings.DATA_DIR / first.checkpoints.get().path)

    question = answered(ask(experiment))

    lost, drawn = question.answers
    assert question.status == Status.COMPLETED
    assert (lost["row"], lost["images"], drawn["row"]) == (None, [], 0)
    assert "ckpt" in lost["error"] or "missing" in lost["error"], lost

    shutil.rmtree(django_settings.DATA_DIR / second.checkpoints.get().path)
    failed = answered(ask(experiment))
    assert (failed.status, failed.reason) == (Status.FAILED, lost["error"])


def test_a_question_whose_worker_was_killed_is_answered_by_another() -> None:
    experiment = trained()
    question = ask(experiment)
    dead = factories.make_worker(alive=False)
    taken = lifecycle.claim(Question, question.pk, dead)
    assert taken is not None
    Question.objects.filter(pk=question.pk).update(lease_until=timezone.now() - timedelta(hours=1))

    lifecycle.requeue_lost()
    done = answered(question)

    assert (done.status, done.attempt, done.restarts) == (Status.COMPLETED, 2, 1)
    assert done.path.is_file()
    with pytest.raises(lifecycle.StaleAttempt):
        lifecycle.complete(taken, answers=[])


def test_a_question_that_is_cancelled_meanwhile_stops_at_the_next_step_and_writes_nothing() -> None:
    experiment = trained(TINY[1])
    question = ask(experiment)
    taken = lifecycle.claim(Question, question.pk, factories.make_worker())
    assert taken is not None
    lifecycle.cancel(taken, by="ada")
    heartbeat = Heartbeat(taken)
    heartbeat._beat()  # sees it

    with pytest.raises(JobStopped):
        work._draw(taken, Run.objects.get(), heartbeat)
    with pytest.raises(lifecycle.StaleAttempt), Heartbeat(taken) as unaware:
        work.answer(taken, unaware)
    assert lifecycle.confirm_cancel(taken)

    taken.refresh_from_db()
    assert (taken.status, taken.answers) == (Status.CANCELLED, [])


def test_what_is_read_is_right_on_real_scenes_and_verdicts_need_claims() -> None:
    claims = Claims((Claim("red", "circle", "large", 1),))
    scenes = [scene_of(claims, 32, np.random.default_rng(seed)) for seed in range(3)]
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    pixels = np.concatenate([render(scenes, 32), noise])

    judged, unknown = work._read(pixels, claims), work._read(pixels, None)

    assert [each["read"] for each in judged] == [*map(in_words, scenes), None]
    assert [each["follows"] for each in judged] == [True, True, True, None]
    assert {each["follows"] for each in unknown} == {None}


def test_words_of_the_experiments_own_prompts_have_claims_and_others_have_none() -> None:
    experiment = factories.make_scenes_experiment()
    own = Question(experiment=experiment, text=known_text(experiment))

    assert work._judge_of(own)[1] is not None
    assert work._judge_of(Question(experiment=experiment, text="red")) == ("scenes-1", None)
    plain = factories.make_asked_experiment()
    assert work._judge_of(Question(experiment=plain, text="red")) == ("", None)


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"text": ""}, "text", "expected a prompt in words"),
        ({"text": "a purple hippo"}, "text", "does not know 'purple', 'hippo'"),
        ({"text": "?!"}, "text", "expected words, got '?!'"),
        ({"text": "a " * 101}, "text", "expected at most 200 characters, got 202"),
        ({"text": 3}, "text", "expected a prompt in words"),
        ({"images": 9}, "images", "expected a whole number of 1 to 8, got 9"),
        ({"images": "two"}, "images", "got 'two'"),
        ({"first_seed": -1}, "first_seed", "expected a whole number of 0 to 2,147,483,647, got -1"),
        ({"training_seed": 9}, "training_seed", "expected a seed of the experiment (0), got 9"),
        ({"seeds": 9}, "seeds", "unknown field"),
        ({}, "text", "no entry has completed its training with seed 0 yet"),
    ],
)
def test_a_wrong_question_is_refused_at_its_field(
    data: dict[str, Any], field: str, message: str
) -> None:
    experiment = factories.make_scenes_experiment()

    with pytest.raises(SpecificationError) as caught:
        ask(experiment, **data)

    assert list(caught.value.errors) == [field]
    assert message in caught.value.errors[field]
    assert not Question.objects.exists()


def test_models_that_learn_no_words_are_not_asked() -> None:
    with pytest.raises(SpecificationError) as caught:
        asking.ask(factories.make_experiment(), {"text": "red"}, user=factories.make_user())

    assert "learn no words" in caught.value.errors["text"]


def completed_entry() -> Experiment:
    experiment = factories.make_scenes_experiment()
    run = factories.make_run(entry=factories.contenders_of(experiment)[0], status=Status.COMPLETED)
    factories.make_checkpoint(run=run)
    return experiment


def test_one_person_has_few_unfinished_questions_and_others_are_not_in_the_way(
    settings: Settings,
) -> None:
    settings.QUESTIONS_UNFINISHED = 2
    experiment, ada = completed_entry(), factories.make_user()
    first, _ = ask(experiment, user=ada), ask(experiment, user=ada)

    with pytest.raises(asking.TooManyQuestions) as caught:
        ask(experiment, user=ada)
    assert caught.value.errors == {
        "text": "2 questions of yours may wait or be drawn at a time; cancel one, or wait"
    }
    ask(experiment)
    lifecycle.cancel(first, by="ada")
    ask(experiment, user=ada)


def test_one_person_asks_so_many_an_hour_and_may_go_on_when_it_is_over(settings: Settings) -> None:
    settings.QUESTIONS_PER_HOUR, settings.QUESTIONS_UNFINISHED = 2, 10
    experiment, ada = completed_entry(), factories.make_user()
    first, second = ask(experiment, user=ada), ask(experiment, user=ada)
    Question.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(minutes=48))

    with pytest.raises(asking.TooManyQuestions) as caught:
        ask(experiment, user=ada)
    assert caught.value.errors["text"] == "you may ask 2 questions an hour; ask again in 12 min"
    lifecycle.cancel(second, by="ada")
    with pytest.raises(asking.TooManyQuestions):
        ask(experiment, user=ada)  # what was cancelled was asked all the same
    Question.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(minutes=61))
    ask(experiment, user=ada)
    settings.QUESTIONS_PER_HOUR = 0
    with pytest.raises(asking.TooManyQuestions, match="nobody may ask"):
        ask(experiment)


def test_the_oldest_answers_of_a_person_go_with_their_files_and_timelines(
    settings: Settings,
) -> None:
    settings.QUESTIONS_KEPT, settings.QUESTIONS_UNFINISHED = 2, 10
    ada = factories.make_user()
    old = [factories.make_question(user=ada, status=Status.COMPLETED) for _ in range(3)]
    other = factories.make_question(status=Status.COMPLETED)
    Question.objects.all().update(created_at=timezone.now() - timedelta(hours=2))
    assert JobEvent.objects.filter(job_type="question", job_id=old[0].pk).exists()

    fresh = ask(completed_entry(), user=ada)

    kept = {*Question.objects.values_list("pk", flat=True)}
    assert kept == {old[1].pk, old[2].pk, other.pk, fresh.pk}
    assert [question.path.exists() for question in (*old, other)] == [False, True, True, True]
    assert not JobEvent.objects.filter(job_type="question", job_id=old[0].pk).exists()


def test_answers_of_the_last_hour_are_kept_as_they_are_counted(settings: Settings) -> None:
    settings.QUESTIONS_KEPT, settings.QUESTIONS_UNFINISHED = 0, 10
    ada = factories.make_user()
    recent = factories.make_question(user=ada, status=Status.COMPLETED)

    ask(completed_entry(), user=ada)

    assert Question.objects.filter(pk=recent.pk).exists()


def test_a_sheet_is_garbage_only_without_its_question(settings: Settings) -> None:
    question = factories.make_question(status=Status.COMPLETED)
    stale = question.path.with_name(f"{question.pk}-9.png")
    grid_png(np.zeros((1, 3, 32, 32), np.uint8), 1, stale)
    settings_age = garbage.YOUNG_SECONDS
    garbage.YOUNG_SECONDS = -1
    try:
        found = [name for name, _ in garbage.find()]
    finally:
        garbage.YOUNG_SECONDS = settings_age

    assert found == [f"answers/{stale.name}"]
