"""Viewings: workers show how a trained model makes images, and the pictures are the model's."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from PIL import Image
from pytest_django.fixtures import Settings

from accounts.models import User
from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.in_memory import read_images
from experiments import tasks
from experiments.answers import asking as answers
from experiments.lifetime import withdrawal
from experiments.models import Evaluation, Question, Run, SampleSet, Viewing
from experiments.submission.specification import SpecificationError
from experiments.viewings import asking, work
from experiments.viewings.kinds import VIEWERS, offered
from experiments.work import judged
from generators.specs import registry
from generators.trained import sampling, verdicts
from generators.training.checkpoints import WEIGHTS
from jobs import lifecycle
from jobs.execution import Heartbeat, JobStopped
from jobs.models import Status
from operations import garbage
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)
CLASSES = ("cat", "dog", "eel")
DDPM: dict[str, Any] = {
    "algorithm": "diffusion.ddpm",
    "config": {"base_channels": 8, "timesteps": 12, "batch_size": 20},
    "samplers": [{"name": "ddim", "steps": 3}, {"name": "ddpm", "steps": 4}],
}
VAE: dict[str, Any] = {
    "algorithm": "vae.conv",
    "config": {"base_channels": 4, "batch_size": 20},
}
GAN: dict[str, Any] = {
    "algorithm": "gan.sngan",
    "config": {"generator_channels": 4, "discriminator_channels": 4, "batch_size": 20},
}
CELL, GAP, SCALE = 68, 4, 8  # of images of 8 pixels on a sheet


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


def trained(entry: dict[str, Any], **dataset: Any) -> Run:
    """Return a tiny run that a worker has trained on random images of 8 pixels."""
    made = factories.make_dataset(
        files=True, **{"classes": CLASSES, "train_size": 40, "test_size": 30, **dataset}
    )
    factories.make_experiment(dataset=made, entries=[entry], budget={"images": 40})
    Evaluation.objects.all().delete()
    SampleSet.objects.all().delete()
    run = Run.objects.get()
    tasks.train_run(run.pk)
    SampleSet.objects.all().delete()
    run.refresh_from_db()
    assert run.status == Status.COMPLETED, run.error
    return run


def ask(run: Run, kind: str, *, user: User | None = None, **data: Any) -> Viewing:
    viewing, _ = asking.ask(run, {"kind": kind, **data}, user=user or factories.make_user())
    return viewing


def computed(viewing: Viewing) -> Viewing:
    tasks.compute_viewing(viewing.pk)
    viewing.refresh_from_db()
    return viewing


def shown(viewing: Viewing) -> np.ndarray:
    """Return the pictures on a sheet, (tracks, frames, H, W) uint8."""
    assert viewing.status == Status.COMPLETED, viewing.error
    sheet = np.asarray(Image.open(viewing.path))
    tracks, frames = len(viewing.facts["tracks"]), len(viewing.facts["frames"])
    assert sheet.shape == (tracks * CELL + GAP, frames * CELL + GAP)
    cells = sheet[GAP:, GAP:].reshape(tracks, CELL, frames, CELL).swapaxes(1, 2)
    found: np.ndarray = cells[:, :, : 8 * SCALE : SCALE, : 8 * SCALE : SCALE]
    return found


def test_images(run: Run) -> np.ndarray:
    return read_images(run.entry.experiment.dataset.test_path).pixels[:, 0]


test_images.__test__ = False  # type: ignore[attr-defined]  # no test, for all its name


def newest(run: Run) -> Path:
    checkpoint = run.checkpoints.last()
    assert checkpoint is not None
    return Path(django_settings.DATA_DIR / checkpoint.path)


def sample(run: Run, seed: int, label: int, sampler: dict[str, Any]) -> np.ndarray:
    parsed = registry.parse_sampler(run.entry.algorithm, sampler)
    (pixels,) = sampling.draw(
        sampling.load_generator(newest(run)),
        parsed,
        seeds=[seed],
        labels=np.array([label]),
        batch_size=1,
    )
    found: np.ndarray = pixels[0, 0]
    return found


def differ(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


# --- what is shown ------------------------------------------------------------------------------


def test_a_worker_shows_how_real_images_become_noise() -> None:
    run = trained(DDPM)

    viewing = computed(ask(run, "noising", first=4))

    pictures, images = shown(viewing), test_images(run)
    assert np.array_equal(pictures[:, 0], images[4:7])
    frames = viewing.facts["frames"]
    left = [frame["alpha_bar"] for frame in frames]
    assert left[0] == 1 and left == sorted(left, reverse=True) and left[-1] < 0.01
    assert frames[-1]["timestep"] == 11
    assert viewing.facts["tracks"] == ["test image 4", "test image 5", "test image 6"]
    assert list(garbage.damage()) == []


def test_a_worker_shows_a_walk_that_ends_with_the_sample_of_its_seed() -> None:
    run = trained(DDPM)

    viewing = computed(ask(run, "reverse", first=5, told="1", sampler="DDIM 3"))
    other = computed(ask(run, "reverse", first=5, sampler="DDPM 4"))

    pictures, own = shown(viewing), sample(run, 5, 1, DDPM["samplers"][0])
    assert [frame.get("timestep") for frame in viewing.facts["frames"]] == [11, 7, 3, None]
    assert viewing.facts["told"] == ["dog"] * 3
    for picture in (pictures[0, -1], pictures[1, -1], pictures[1, -2]):
        assert differ(picture, own) <= 1
    assert other.facts["told"] == list(CLASSES)  # each in turn, where nobody said
    assert differ(shown(other)[0, -1], sample(run, 5, 0, DDPM["samplers"][1])) <= 1


def test_a_worker_shows_one_seed_through_every_sampler_and_what_it_costs() -> None:
    run = trained(DDPM)

    viewing = computed(ask(run, "samplers", first=3, told="2"))

    assert viewing.facts["tracks"] == ["DDPM", "DDIM", "DPM-Solver++"]
    assert [frame["steps"] for frame in viewing.facts["frames"]] == [1, 2, 4, 8]  # of 12 at most
    assert [cell.get("nfe") for cell in viewing.facts["cells"][1]] == [1, 2, 4, 8]
    assert "reason" in viewing.facts["cells"][2][0]
    own = sample(run, 3, 2, {"name": "ddim", "steps": 8})
    assert differ(shown(viewing)[1, 3], own) <= 1


@pytest.mark.parametrize("entry", [VAE, GAN, DDPM], ids=["vae", "gan", "diffusion"])
def test_a_worker_shows_the_way_from_one_seeds_image_to_the_next(entry: dict[str, Any]) -> None:
    run = trained(entry)

    viewing = computed(ask(run, "interpolation", first=7, told="1"))

    pictures, sampler = shown(viewing), dict(run.entry.samplers[0])
    assert pictures.shape[:2] == (3, 13)
    for picture, seed in ((pictures[0, 0], 7), (pictures[0, -1], 8), (pictures[2, -1], 10)):
        assert differ(picture, sample(run, seed, 1, sampler)) <= 2
    assert viewing.facts["frames"][6] == {"weight": 0.5}


def test_a_worker_shows_what_encoding_loses() -> None:
    run = trained(VAE)

    viewing = computed(ask(run, "reconstruction", first=20))

    pictures, images = shown(viewing), test_images(run)
    assert pictures.shape[:2] == (3, 10)  # the split ends there
    assert np.array_equal(pictures[0], images[20:30])
    assert np.array_equal(pictures[2], np.abs(pictures[0].astype(int) - pictures[1]))
    mse = np.square(pictures[0, 0].astype(float) - pictures[1, 0]).mean()
    first = viewing.facts["frames"][0]
    assert first == {"image": 20, "psnr_db": pytest.approx(10 * np.log10(255**2 / mse))}


def test_a_worker_shows_what_the_discriminator_says_of_drawn_and_real_images() -> None:
    run = trained(GAN)

    viewing = computed(ask(run, "verdict", first=2))

    drawn, real = viewing.facts["cells"]
    for cells in (drawn, real):
        logits = [cell["logit"] for cell in cells]
        assert logits == sorted(logits) and len(set(logits)) > 1
    images = test_images(run)
    assert all(
        np.array_equal(picture, images[cell["image"]])
        for picture, cell in zip(shown(viewing)[1], real, strict=True)
    )
    first = sample(run, drawn[0]["seed"], (drawn[0]["seed"] - 2) % 3, {"name": "direct"})
    assert differ(shown(viewing)[0, 0], first) <= 1
    assert viewing.facts["summary"]["drawn"] == 30
    assert 0 <= viewing.facts["summary"]["passes"] <= 1
    history = viewing.facts["history"]
    assert history and all(len(point) == 3 for point in history)


@pytest.mark.parametrize("entry", [GAN, VAE], ids=["gan", "vae"])
def test_a_worker_shows_what_the_same_seeds_were_in_training(entry: dict[str, Any]) -> None:
    run = trained(entry)

    viewing = computed(ask(run, "learning", first=2))

    pictures, frames = shown(viewing), viewing.facts["frames"]
    seen = list(run.checkpoints.order_by("images_seen").values_list("images_seen", flat=True))
    assert [frame["images_seen"] for frame in frames] == seen and len(seen) > 1
    for row, seed in ((0, 2), (5, 7)):
        own = sample(run, seed, seed % 3, {"name": "direct"})
        assert (
            differ(pictures[row, -1], own) <= 1
        )  # the last preview is of the weights that are kept
    cells = viewing.facts["cells"]
    assert len(cells) == (6 if entry is GAN else 0)
    if cells:
        logits = [row[-1]["logit"] for row in cells]
        assert np.std(logits) > 0
        for row, seed in ((0, 2), (5, 7)):  # the last frame is judged by the weights that are kept
            image = sample(run, seed, seed % 3, {"name": "direct"})
            logit = said_at_the_end(run, image, seed % 3)
            assert cells[row][-1]["logit"] == pytest.approx(logit, rel=1e-3)
        first, last = (run.checkpoints.all()[place].verdict for place in (0, len(seen) - 1))
        assert [len(first["drawn"]), len(first["real"])] == [40, 30]
        assert first["real"] != last["real"]  # another discriminator, the same images
        assert frames[0]["mean_real"] == pytest.approx(np.mean(first["real"]))
        assert viewing.facts["judged"] == "each" and len(viewing.facts["history"]) == len(seen)


def said_at_the_end(run: Run, image: np.ndarray, label: int) -> float:
    generator = sampling.load_generator(newest(run))
    network = verdicts.load_discriminator(generator, newest(run))
    return float(verdicts.logits(generator, network, image[None, None], np.array([label]))[0])


def test_a_run_of_before_verdicts_were_kept_is_judged_by_the_discriminator_of_the_end() -> None:
    run = trained(GAN)
    run.checkpoints.filter(pk=run.checkpoints.all()[0].pk).update(verdict={})

    viewing = computed(ask(run, "learning"))

    assert viewing.facts["judged"] == "end" and "history" not in viewing.facts
    means = [np.mean([row[place]["logit"] for row in viewing.facts["cells"]]) for place in (0, -1)]
    assert [viewing.facts["frames"][place]["mean_logit"] for place in (0, -1)] == pytest.approx(
        means
    )


def test_judging_in_training_changes_no_bit_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = trained(GAN)
    monkeypatch.setattr(judged, "at_checkpoint", lambda *_, **__: {})
    with_verdict = sha256_of(newest(watched) / WEIGHTS)
    watched.entry.experiment.delete()

    alone = trained(GAN)

    assert watched.seed == alone.seed
    assert sha256_of(newest(alone) / WEIGHTS) == with_verdict
    assert alone.checkpoints.all()[0].verdict == {}


def test_models_of_words_show_captions_of_the_training_or_what_was_asked() -> None:
    texts = ("a red shape", "a blue shape")
    run = trained(DDPM, classes=(), texts=texts)

    free = computed(ask(run, "reverse"))
    asked = computed(ask(run, "reverse", told="a  blue shape"))

    assert set(free.facts["told"]) <= set(texts)
    assert asked.facts["told"] == ["a blue shape"] * 3


# --- what can be asked --------------------------------------------------------------------------


def test_each_family_has_its_viewers() -> None:
    names = {
        algorithm: [viewer.key for viewer in offered(factories.make_run(entry=entry).entry)]
        for algorithm in ("gan.dcgan", "vae.conv", "diffusion.edm", "latent.flow")
        for entry in factories.contenders_of(factories.make_experiment(algorithms=[algorithm]))
    }

    walks = ["noising", "reverse", "samplers", "interpolation"]
    assert names == {
        "gan.dcgan": ["interpolation", "verdict", "learning"],
        "vae.conv": ["interpolation", "reconstruction", "learning"],
        "diffusion.edm": [*walks, "learning"],
        "latent.flow": [*walks, "reconstruction", "learning"],
    }
    assert set(VIEWERS) == set(work.FILMS)


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"kind": "verdict"}, "kind", "expected one of noising, reverse, samplers, interpolation"),
        ({"kind": 3}, "kind", "got 3"),
        ({"kind": "noising", "first": 100}, "first", "a whole number of 0 to 99, got 100"),
        ({"kind": "reverse", "first": -1}, "first", "0 to 2,147,483,647, got -1"),
        ({"kind": "learning", "first": 35}, "first", "a whole number of 0 to 34, got 35"),
        ({"kind": "reverse", "first": True}, "first", "got True"),
        ({"kind": "reverse", "told": "10"}, "told", "expected a class of 0 to 9, got '10'"),
        ({"kind": "reverse", "told": "red"}, "told", "got 'red'"),
        ({"kind": "noising", "told": "1"}, "told", "expected nothing"),
        ({"kind": "reverse", "sampler": "DDIM 7"}, "sampler", "expected one of DDIM 50"),
        ({"kind": "noising", "sampler": "DDIM 50"}, "sampler", "expected nothing"),
        ({"kind": "reverse", "seed": 1}, "seed", "unknown field"),
    ],
)
def test_a_wrong_viewing_is_refused_at_its_field(
    data: dict[str, Any], field: str, message: str
) -> None:
    entry = {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 50}]}
    (made,) = factories.contenders_of(factories.make_experiment(entries=[entry]))
    run = factories.make_run(entry=made, status=Status.COMPLETED)
    factories.make_checkpoint(run=run)

    with pytest.raises(SpecificationError) as caught:
        asking.ask(run, data, user=factories.make_user())

    assert list(caught.value.errors) == [field]
    assert message in caught.value.errors[field]
    assert not Viewing.objects.exists()


def test_a_training_that_is_not_complete_shows_nothing() -> None:
    with pytest.raises(SpecificationError) as caught:
        ask(factories.make_run(status=Status.RUNNING), "interpolation")

    assert caught.value.errors == {"run": "the training is not complete"}


def test_what_was_asked_before_is_there_already_and_costs_nothing(settings: Settings) -> None:
    settings.QUESTIONS_PER_HOUR = 1
    done = factories.make_viewing(status=Status.COMPLETED, first=5)
    ada = factories.make_user()

    again, is_new = asking.ask(done.run, {"kind": "reverse", "first": "5"}, user=ada)
    other, is_other_new = asking.ask(done.run, {"kind": "reverse", "first": 6}, user=ada)

    assert (again, is_new) == (done, False)
    assert is_other_new and other != done
    factories._put(done, Status.FAILED, {"reason": "the disk was full"})
    with pytest.raises(answers.TooManyQuestions, match="ask again in 60 min"):
        ask(done.run, "reverse", user=ada, first=5)  # what was in vain is computed anew


def test_questions_and_viewings_count_together(settings: Settings) -> None:
    settings.QUESTIONS_UNFINISHED = 2
    ada = factories.make_user()
    factories.make_question(user=ada)
    first = factories.make_viewing(user=ada)

    with pytest.raises(answers.TooManyQuestions) as caught:
        ask(first.run, "noising", user=ada)

    assert "2 questions of yours may wait" in caught.value.errors["kind"]
    assert Question.objects.count() == Viewing.objects.count() == 1


def test_the_oldest_pictures_of_an_account_go_with_their_files(settings: Settings) -> None:
    settings.QUESTIONS_KEPT = 1
    ada = factories.make_user()
    old = factories.make_viewing(user=ada, status=Status.COMPLETED)
    kept = factories.finish_viewing(ask(old.run, "reverse", user=ada, first=1))
    Viewing.objects.update(created_at=timezone.now() - timedelta(hours=2))

    ask(old.run, "reverse", user=ada, first=2)

    assert not Viewing.objects.filter(pk=old.pk).exists() and not old.path.exists()
    assert Viewing.objects.filter(pk=kept.pk).exists() and kept.path.exists()


# --- workers that fail --------------------------------------------------------------------------


def test_a_viewing_whose_worker_was_killed_is_computed_by_another() -> None:
    run = trained(VAE)
    viewing = ask(run, "interpolation")
    taken = lifecycle.claim(Viewing, viewing.pk, factories.make_worker(alive=False))
    assert taken is not None
    Viewing.objects.filter(pk=viewing.pk).update(lease_until=timezone.now() - timedelta(hours=1))

    lifecycle.requeue_lost()
    done = computed(viewing)

    assert (done.status, done.attempt, done.restarts) == (Status.COMPLETED, 2, 1)
    assert done.path.is_file() and done.percent == 100
    with pytest.raises(lifecycle.StaleAttempt):
        lifecycle.complete(taken, facts={})


def test_a_viewing_that_is_cancelled_meanwhile_stops_at_the_next_step() -> None:
    run = trained(DDPM)
    viewing = ask(run, "reverse")
    taken = lifecycle.claim(Viewing, viewing.pk, factories.make_worker())
    assert taken is not None
    lifecycle.cancel(taken, by="ada")
    heartbeat = Heartbeat(taken)
    heartbeat._beat()  # sees it

    with pytest.raises(JobStopped):
        work.view(taken, heartbeat)

    assert not taken.path.exists()


def test_a_run_whose_weights_are_lost_says_so() -> None:
    run = trained(VAE)
    shutil.rmtree(newest(run))

    failed = computed(ask(run, "interpolation"))

    assert failed.status == Status.FAILED
    assert "ckpt" in failed.reason or "missing" in failed.reason


def test_an_experiment_goes_with_its_viewings_once_they_are_finished() -> None:
    viewing = factories.make_viewing()
    experiment = viewing.run.entry.experiment
    for job in experiment.jobs():
        factories._put(job, Status.COMPLETED, {})

    with pytest.raises(withdrawal.NotWithdrawn, match="1 of its jobs are not finished"):
        withdrawal.withdraw(experiment, user=factories.make_user())
    lifecycle.cancel(viewing, by="ada")
    withdrawal.withdraw(experiment, user=factories.make_user())

    assert not Viewing.objects.exists()
