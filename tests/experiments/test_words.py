"""Experiments on captions: models learn words, samples are asked with prompts in turn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from django.utils.html import escape
from pytest_django.fixtures import Settings

from catalog.models import Dataset, Protocol
from catalog.services import Scoring, register_protocol
from evaluation.imagesets.in_memory import Images, read_images
from evaluation.scenes import packaged as scenes
from experiments import asked, tasks
from experiments.models import Evaluation, Experiment, MetricValue, Run, SampleSet
from experiments.services import submit_data
from experiments.submission.specification import SpecificationError
from generators.specs.conditions import plain
from generators.trained.sampling import load_generator
from jobs.models import Status
from tests import factories
from tests.experiments.test_pipeline import TINY, work_off

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = pytest.mark.django_db(transaction=True)
TEXTS = ("a red circle", "a blue circle", "a small red square")
PROMPTS = ("a blue square", "a small circle", "red")  # of known words, in other combinations


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture
def dataset() -> Dataset:
    return factories.make_dataset(files=True, classes=(), texts=TEXTS, train_size=40, test_size=21)


def entry(algorithm: str = "vae.conv", **config: Any) -> dict[str, Any]:
    return {"algorithm": algorithm, "config": {**TINY[algorithm], "batch_size": 20, **config}}


def trained(*protocols: Protocol, **config: Any) -> Experiment:
    experiment = factories.make_experiment(
        protocols=protocols, entries=[entry(**config)], budget={"images": 20}
    )
    Evaluation.objects.all().delete()
    for kind, task in ((Run, tasks.train_run), (SampleSet, tasks.draw_samples)):
        while job := kind._default_manager.filter(status=Status.QUEUED).first():
            task(job.pk)
        for job in kind._default_manager.all():
            assert job.status == Status.COMPLETED, job.error
    return experiment


def samples(experiment: Experiment, control: str = "") -> Images:
    sets = SampleSet.objects.filter(entry__experiment=experiment)
    found = sets.get(entry__config__control=control) if control else sets.get(run__isnull=False)
    return read_images(found.path)


def test_a_model_learns_the_words_of_captions_and_each_image_has_its_prompt(
    dataset: Dataset,
) -> None:
    prompts = factories.make_prompts(*PROMPTS)

    experiment = trained(factories.make_protocol(dataset=dataset, prompts=prompts))

    words = load_generator_of(experiment).conditions.words
    assert words == ("a", "blue", "circle", "red", "small", "square")
    drawn = samples(experiment)
    assert drawn.captions == PROMPTS * 7 and drawn.labels is None
    assert drawn.left_out == ()
    assert samples(experiment, "test").captions == PROMPTS * 7
    assert samples(experiment, "noise").captions == PROMPTS * 7


def test_without_prompts_samples_are_asked_with_captions_of_the_train_split(
    dataset: Dataset,
) -> None:
    experiment = trained(factories.make_protocol(dataset=dataset, num_images=60))

    found = samples(experiment).captions
    assert found is not None and len(found) == 60
    assert sorted(found[:40]) == sorted(read_images(dataset.train_path).captions or ())
    assert found[:40] != tuple(read_images(dataset.train_path).captions or ())
    images, real = read_images(dataset.test_path), samples(experiment, "test")
    told = dict(zip(map(np.ndarray.tobytes, images.pixels), images.captions or (), strict=True))
    assert real.captions == tuple(told[image.tobytes()] for image in real.pixels)
    assert samples(experiment, "noise").captions is None


def test_a_model_that_is_deaf_to_words_was_shown_the_same_prompts(dataset: Dataset) -> None:
    protocol = factories.make_protocol(dataset=dataset, prompts=factories.make_prompts(*PROMPTS))

    experiment = trained(protocol, conditional=False)

    assert samples(experiment).captions == PROMPTS * 7
    assert load_generator_of(experiment).conditions.kind == "none"


def load_generator_of(experiment: Experiment) -> Any:
    run = Run.objects.get(entry__experiment=experiment)
    checkpoint = run.checkpoints.last()
    assert checkpoint is not None
    return load_generator(run.folder / Path(checkpoint.path).name)


@pytest.mark.usefixtures("engine_here")
def test_samples_with_prompts_are_scored(dataset: Dataset) -> None:
    prompts = factories.make_prompts(*PROMPTS)
    scoring = Scoring(
        extractor="pixels-pca64", metrics=("fd",), prompts=prompts.slug, images_per_prompt=7
    )
    protocol, _ = register_protocol(dataset, scoring, admission_images=0)
    factories.make_experiment(protocols=[protocol], entries=[entry()], budget={"images": 20})

    work_off()

    assert (protocol.prompt_set, protocol.num_images) == (prompts, 21)
    assert MetricValue.objects.filter(value__isnull=False).count() >= 2


@pytest.mark.usefixtures("engine_here")
@pytest.mark.slow
def test_scenes_are_asked_for_and_judged_with_a_ceiling_and_a_floor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenes, "SIZES", {"train": 1500, "test": 400})
    call_command("register_dataset", "scenes32", packaged="scenes32")
    scoring = Scoring(
        preset="scenes-prompts", metrics=("fd", "following", "unparsed"), images_per_prompt=4
    )
    protocol, _ = register_protocol(Dataset.objects.get(), scoring, admission_images=0)
    floor = {**entry(captions_as="classes"), "label": "captions as classes"}
    latent = {
        "algorithm": "latent.flow",
        "config": {"base_channels": 8, "autoencoder_channels": 8, "batch_size": 20},
        "samplers": [{"name": "euler", "steps": 2}],
    }
    experiment = factories.make_experiment(
        protocols=[protocol], entries=[entry(), floor, latent], budget={"images": 20}
    )

    work_off()

    found: dict[str, Any] = {
        value.evaluation.sample_set.entry.config.get(
            "control", value.evaluation.sample_set.entry.config.get("captions_as")
        ): value.value
        for value in MetricValue.objects.filter(metric="following")
    }
    assert found["asked"] == 1.0
    assert 0 < found["shuffled"] < 0.3 and 0 < found["test"] < 0.3
    controls = {"test", "copy", "noise", "blur", "asked", "shuffled", "reconstructed"}
    assert found.keys() == {"words", "classes", *controls}
    known = {plain(text) for text in read_images(Dataset.objects.get().train_path).captions or ()}
    prompts = asked.prompts_of(experiment, protocol.num_images)
    assert prompts is not None
    unknown = sum(plain(prompt) not in known for prompt in prompts)
    stand_ins = SampleSet.objects.filter(stand_ins__gt=0).get()  # of one entry alone
    assert 0 < stand_ins.stand_ins == unknown < protocol.num_images
    assert read_images(stand_ins.path).captions == tuple(prompts)
    page = Client().get(f"/experiments/{experiment.pk}/prompts/").content.decode()
    text = f"captions as classes knows captions as wholes alone: {unknown} of its {len(prompts)}"
    assert text in page
    assert "Stand-ins" in Client().get(f"/runs/{stand_ins.run_id}/").content.decode()
    ceiling = SampleSet.objects.get(entry__config__control="reconstructed")
    assert ceiling.sampler_label == "scenes for the prompts, encoded and decoded"
    made = read_images(ceiling.path)
    real = read_images(SampleSet.objects.get(entry__config__control="asked").path)
    assert made.captions == real.captions and made.pixels.shape == real.pixels.shape
    assert ceiling.reconstruction["images"] == 400
    unparsed = MetricValue.objects.get(metric="unparsed", evaluation__sample_set=ceiling)
    assert unparsed.value == 1.0  # after a step of training


def refused(*protocols: Protocol) -> dict[str, str]:
    data = factories.experiment_data(
        protocol=protocols[0], protocols=[protocol.fingerprint for protocol in protocols]
    )
    with pytest.raises(SpecificationError) as caught:
        submit_data(data, user=None)
    assert not Experiment.objects.exists()
    return caught.value.errors


def test_nobody_names_a_text_encoder_in_a_folder_of_the_platform(dataset: Dataset) -> None:
    data = factories.experiment_data(
        protocol=factories.make_protocol(dataset=dataset), entries=[entry(text_encoder="/etc")]
    )

    with pytest.raises(SpecificationError) as caught:
        submit_data(data, user=None)

    assert caught.value.errors == {
        "entries.0.config.text_encoder": "expected none: on the platform every training has a text "
        "encoder of its own"
    }


def test_sides_of_mirrored_images_are_warned_of_on_the_page_and_in_the_answer(
    dataset: Dataset,
) -> None:
    sided = factories.make_dataset(
        files=True, classes=(), texts=("a dot left of a box", "a box"), train_size=4, test_size=4
    )
    flipped = [entry(horizontal_flip=True), {**entry(), "label": "as they are"}]
    warning = (
        "Conv VAE: horizontal_flip mirrors half of the images, and what is learned of them says 'left': "
        "of a mirrored image that is wrong, so a model can only learn what it says by halves."
    )

    found = {
        each: factories.make_experiment(
            protocols=[factories.make_protocol(dataset=each, num_images=4)], entries=flipped
        )
        for each in (sided, dataset)
    }
    pages = {
        each: Client().get(f"/experiments/{one.pk}/").content.decode()
        for each, one in found.items()
    }
    answers = {
        each: Client().get(f"/api/experiments/{one.pk}/").json() for each, one in found.items()
    }

    assert answers[sided]["warnings"] == [warning] and answers[dataset]["warnings"] == []
    assert escape(warning) in pages[sided] and "mirrors half" not in pages[dataset]


def test_captions_are_classes_only_where_there_are_captions_and_few_enough(
    dataset: Dataset,
) -> None:
    wanted = entry(captions_as="classes")
    without = factories.make_protocol()
    data = factories.experiment_data(protocol=without, entries=[wanted])
    field = "entries.0.config.captions_as"

    with pytest.raises(SpecificationError) as caught:
        submit_data(data, user=None)
    many = {**(dataset.captions or {})}
    many["train"] = {**many["train"], "distinct": 10_001}
    Dataset.objects.filter(pk=dataset.pk).update(captions=many)
    protocol = factories.make_protocol(dataset=Dataset.objects.get(pk=dataset.pk))
    with pytest.raises(SpecificationError) as too_many:
        submit_data(factories.experiment_data(protocol=protocol, entries=[wanted]), user=None)

    expected = f"expected words: models of {without.dataset} learn no captions"
    assert caught.value.errors == {field: expected}
    assert too_many.value.errors == {
        field: "expected at most 10,000 distinct captions, to be classes; "
        f"{protocol.dataset} has 10,001"
    }


def test_protocols_of_several_sets_of_prompts_are_refused_at_their_field(dataset: Dataset) -> None:
    one, two = (factories.make_prompts(text) for text in ("red", "blue"))
    first, second = (factories.make_protocol(dataset=dataset, prompts=each) for each in (one, two))
    none = factories.make_protocol(dataset=dataset)
    less = factories.make_protocol(dataset=dataset, prompts=one, num_images=5)

    assert refused(first, second) == {
        "protocols.1": f"{second.label} asks with the prompts {two} for 21 images each, "
        f"{first.label} with the prompts {one} for 21 images each; expected one set, as all "
        "protocols score the same samples"
    }
    assert " for 5 images each, " in refused(first, less)["protocols.1"]
    assert refused(first, none)["protocols.1"].startswith(f"{none.label} asks with no prompts, ")


def test_prompts_that_no_model_could_be_asked_are_refused(dataset: Dataset) -> None:
    strange = factories.make_prompts("a red circle", "a purple circle, striped")
    long = factories.make_prompts("a small red square and a circle".replace(" and", ""))
    silent = factories.make_protocol(prompts=factories.make_prompts("red"))

    for prompts, expected in (
        (
            strange,
            f"{strange}: caption 1: expected words that the model was trained on, it does not know "
            "'purple', 'striped'",
        ),
        (
            long,
            f"{long}: caption 0: expected at most 4 words, as the longest caption that the model "
            "was trained on, got 6",
        ),
    ):
        protocol = factories.make_protocol(dataset=dataset, prompts=prompts)
        assert refused(protocol) == {"protocols.0": f"{protocol.label}: {expected}"}
    assert refused(silent) == {
        "protocols.0": f"{silent.label}: asks with prompts, but models of {silent.dataset} learn no "
        "words"
    }


def test_captions_that_no_model_can_learn_are_refused_before_training() -> None:
    long = factories.make_dataset(classes=(), texts=("a " * 65,))
    many = factories.make_dataset(classes=(), texts=(" ".join(map(str, range(50))),))
    assert many.captions is not None
    Dataset.objects.filter(pk=many.pk).update(
        captions=many.captions | {"train": many.captions["train"] | {"words": 5000}}
    )

    assert refused(factories.make_protocol(dataset=long))["dataset"].endswith(
        "expected rows of 1..64 words, got 65"
    )
    assert refused(factories.make_protocol(dataset=Dataset.objects.get(pk=many.pk)))[
        "dataset"
    ].endswith("expected at most 50 different words, got 5,000")


def test_captions_beside_classes_leave_models_to_the_classes() -> None:
    dataset = factories.make_dataset(files=True, texts=TEXTS, train_size=40, test_size=20)

    experiment = trained(factories.make_protocol(dataset=dataset, num_images=20))

    drawn = samples(experiment)
    assert drawn.captions is None
    assert drawn.labels is not None and np.bincount(drawn.labels).min() >= 1
