"""Submitting, finishing, cancelling and retrying, against the database."""

import pytest
from django.db import transaction

from catalog.models import Protocol
from experiments import services
from experiments.controls import LABELS
from experiments.models import Evaluation, Experiment, LossPoint, MetricValue, Run, SampleSet
from experiments.submission.specification import SpecificationError
from jobs import lifecycle
from jobs.models import Job, Status
from tests.factories import (
    CONTROLS_OF_ALL,
    control_of,
    experiment_data,
    make_checkpoint,
    make_dataset,
    make_evaluation,
    make_experiment,
    make_protocol,
    make_run,
    make_sample_set,
    make_worker,
)

pytestmark = pytest.mark.django_db


def claimed(job: Job) -> None:
    assert lifecycle.claim(type(job), job.pk, make_worker()) is not None
    job.refresh_from_db()


def test_a_submission_writes_entries_runs_and_controls() -> None:
    protocol = make_protocol()

    experiment = services.submit_data(
        experiment_data(
            protocol=protocol,
            seeds=[3, 5],
            entries=[{"algorithm": "gan.sngan"}, {"algorithm": "vae.conv", "label": "β"}],
        ),
        user=None,
    )

    labels = [entry.label for entry in experiment.entries.all()]
    assert labels == [
        "Real test images",
        "SNGAN",
        "β",
        "Copy of training images",
        "Uniform noise",
        "Blurred test images",
    ]
    assert Run.objects.count() == 4
    assert set(Run.objects.values_list("seed", flat=True)) == {3, 5}
    drawn = [control_of(experiment, kind).sample_sets.get() for kind in CONTROLS_OF_ALL]
    assert {(s.count, s.queue, s.run) for s in drawn} == {(protocol.num_images, "default", None)}
    assert SampleSet.objects.count() == 4
    assert experiment.status == Status.QUEUED


def test_a_control_holds_as_many_images_as_there_are_and_noise_always_fits() -> None:
    dataset = make_dataset(train_size=80, test_size=30)
    experiment = make_experiment(protocols=[make_protocol(dataset=dataset, num_images=100)])

    counts = {
        kind: control_of(experiment, kind).sample_sets.get().count for kind in CONTROLS_OF_ALL
    }

    assert counts == {"test": 30, "copy": 80, "noise": 100, "blur": 30}


def test_a_control_that_is_too_small_for_the_protocol_has_no_value_and_says_why() -> None:
    dataset = make_dataset(train_size=80, test_size=30)
    protocols = [make_protocol(dataset=dataset, num_images=n) for n in (30, 1_000)]
    experiment = make_experiment(protocols=protocols)

    def reason(kind: str, protocol: Protocol) -> str:
        sample_set = control_of(experiment, kind).sample_sets.get()
        return services.shortage(Evaluation(sample_set=sample_set, protocol=protocol))

    small, large = protocols
    assert {reason(kind, small) for kind in CONTROLS_OF_ALL} == {""}
    assert reason("noise", large) == ""
    assert reason("copy", large) == "the train split holds 80 images, the protocol scores 1,000"
    assert reason("blur", large) == reason("test", large)
    assert reason("test", large) == "the test split holds 30 images, the protocol scores 1,000"


def test_an_unscored_evaluation_is_complete_with_every_metric_absent() -> None:
    evaluation = make_evaluation(status=Status.QUEUED)
    claimed(evaluation)

    services.finish_unscored(evaluation, "too few images")

    evaluation.refresh_from_db()
    assert evaluation.status == Status.COMPLETED
    values = evaluation.values.all()
    assert {v.metric for v in values} == set(evaluation.protocol.metrics)
    assert {(v.value, v.reason) for v in values} == {(None, "too few images")}


def test_no_entry_may_be_called_like_a_control() -> None:
    entries = [{"algorithm": "gan.sngan", "label": label} for label in sorted(LABELS)]
    data = experiment_data(protocol=make_protocol(), entries=entries)

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert len(caught.value.errors) == len(LABELS) == 9
    assert caught.value.errors["entries.0.label"] == (
        "'Blurred test images' is taken, expected another"
    )


def test_a_config_is_frozen_complete() -> None:
    experiment = services.submit_data(
        experiment_data(
            protocol=make_protocol(),
            entries=[{"algorithm": "vae.conv", "config": {"beta": "2"}}],
        ),
        user=None,
    )

    config = experiment.entries.get(kind="generator").config
    assert config["beta"] == 2.0
    assert {"variant", "learning_rate", "batch_size"} <= set(config)


def test_a_wrong_submission_names_every_field_and_writes_nothing() -> None:
    data = experiment_data(
        protocol=make_protocol(),
        budget={"images": 0},
        seeds=[1, 1],
        entries=[
            {"algorithm": "vae.conv", "config": {"beta": -1, "betta": 2}},
            {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "steps": 5000}]},
            {"algorithm": "gan.sngan", "label": " "},
            {"algorithm": "none"},
        ],
    )

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert set(caught.value.errors) == {
        "budget",
        "seeds",
        "entries.0.config.beta",
        "entries.0.config.betta",
        "entries.1.samplers.0.steps",
        "entries.2.label",
        "entries.3.algorithm",
    }
    assert caught.value.errors["entries.0.config.betta"] == "unknown field, did you mean 'beta'?"
    assert not Experiment.objects.exists()


def errors_of(entry: object, **more: object) -> dict[str, str]:
    """Return what is wrong with a submission of one entry."""
    data = experiment_data(protocol=make_protocol(), entries=[entry], **more)
    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)
    return caught.value.errors


def test_samplers_are_not_judged_against_the_defaults_of_a_wrong_configuration() -> None:
    config = {"timesteps": 4000, "dropout": "much"}  # 2,000 steps are fine, by default they are not
    samplers = [{"name": "ddim", "steps": 2000}, {"name": "ddim", "steps": 0}]

    errors = errors_of({"algorithm": "diffusion.ddpm", "config": config, "samplers": samplers})

    assert set(errors) == {"entries.0.config.dropout", "entries.0.samplers.1.steps"}


@pytest.mark.parametrize("empty", [0, False, "", [], {}, 0.0])
@pytest.mark.parametrize("field", ["config", "samplers", "label"])
def test_what_is_empty_is_taken_as_absent_only_where_it_is_of_the_right_kind(
    field: str, empty: object
) -> None:
    data = experiment_data(
        protocol=make_protocol(), entries=[{"algorithm": "vae.conv", field: empty}]
    )
    right = {"config": {}, "samplers": [], "label": ""}[field]

    if type(empty) is type(right):
        services.submit_data(data, user=None)
    else:
        with pytest.raises(SpecificationError, match=rf"^entries\.0\.{field}: expected"):
            services.submit_data(data, user=None)


def test_null_is_as_good_as_absent() -> None:
    nothing = dict.fromkeys(("config", "samplers", "label", "preset"))
    data = experiment_data(protocol=make_protocol(), entries=[{"algorithm": "vae.conv", **nothing}])

    experiment = services.submit_data(data, user=None)

    entry = experiment.entries.get(kind="generator")
    assert (entry.label, entry.sampler_labels) == ("Conv VAE", ["direct"])


def test_the_field_that_was_meant_is_named_wherever_one_is_unknown() -> None:
    errors = errors_of({"algorithm": "vae.conv", "sampler": [], "zebra": 1}, seed=3)

    fields = "algorithm, config, label, preset, samplers"
    assert errors == {
        "seed": "unknown field, did you mean 'seeds'?",
        "entries.0.sampler": "unknown field, did you mean 'samplers'?",
        "entries.0.zebra": f"unknown field, expected one of: {fields}",
    }


@pytest.mark.parametrize("amount", [10**400, float("inf"), float("nan"), True, "many", -1, 0.5])
def test_no_amount_is_too_strange_to_be_refused(amount: object) -> None:
    data = experiment_data(protocol=make_protocol(), budget={"images": amount})

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert set(caught.value.errors) == {"budget"}


def test_what_the_dataset_cannot_do_is_refused_before_the_training() -> None:
    unlabelled = make_dataset(resolution=512, classes=())
    guided = {"algorithm": "diffusion.ddpm", "samplers": [{"name": "ddim", "guidance": 2}]}
    data = experiment_data(protocol=make_protocol(dataset=unlabelled), entries=[guided])

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert caught.value.errors["dataset"].startswith("expected images of 8 to 256 pixels a side")
    assert "entries.0.samplers.0.guidance" in caught.value.errors


def test_a_latent_model_is_refused_where_its_places_or_its_autoencoder_do_not_fit() -> None:
    latent = {
        "algorithm": "latent.flow",
        "config": {"downsampling": 8, "autoencoder": "/somewhere"},
    }
    dataset = make_dataset(resolution=12)
    data = experiment_data(protocol=make_protocol(dataset=dataset), entries=[latent])

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert caught.value.errors == {
        "entries.0.config.downsampling": "expected images with sides that 8 divides, got 12x12",
        "entries.0.config.autoencoder": "expected a completed run of a latent model, such as run 12, "
        "or its last checkpoint's folder, got '/somewhere'",
    }


def test_a_name_is_taken_once() -> None:
    experiment = make_experiment()
    data = experiment_data(protocol=experiment.protocols.get(), name=experiment.name)

    with pytest.raises(SpecificationError, match="an experiment is named"):
        services.submit_data(data, user=None)


def test_a_finished_training_queues_a_sample_set_per_sampler() -> None:
    samplers = [{"name": "ddim", "steps": 5}, {"name": "ddim", "steps": 10}]
    experiment = make_experiment(entries=[{"algorithm": "diffusion.ddpm", "samplers": samplers}])
    run = Run.objects.get()
    claimed(run)

    services.finish_training(run, make_checkpoint(run=run), images_seen=1000)

    drawn = SampleSet.objects.filter(run=run)
    assert sorted(s.sampler_label for s in drawn) == ["DDIM 10", "DDIM 5"]
    assert {s.status for s in drawn} == {Status.QUEUED}
    assert {s.count for s in drawn} == {experiment.protocols.get().num_images}


def test_sample_seeds_of_two_training_seeds_never_overlap() -> None:
    make_experiment(seeds=[0, 1])
    for run in Run.objects.all():
        claimed(run)
        services.finish_training(run, make_checkpoint(run=run))

    first, second = SampleSet.objects.filter(run__isnull=False).order_by("first_seed")
    assert first.first_seed + first.count <= second.first_seed


def test_a_stale_training_finishes_nothing() -> None:
    run = make_run()
    claimed(run)
    stale = Run.objects.get(pk=run.pk)
    lifecycle.requeue_lost(of=make_worker().__class__.objects.all())
    claimed(run)

    with pytest.raises(lifecycle.StaleAttempt), transaction.atomic():
        services.finish_training(stale, make_checkpoint(run=stale))

    assert not SampleSet.objects.filter(run=run).exists()


def test_results_and_completed_come_together_and_once() -> None:
    evaluation = make_evaluation(status=Status.QUEUED)
    claimed(evaluation)
    numbers = {"value": 1.5, "bias_corrected": 1.25, "low": 1.0, "high": 1.5}
    value = {**numbers, "details": {"groups": 20}}

    services.finish_evaluation(evaluation, {"fd": value})
    with pytest.raises(lifecycle.StaleAttempt), transaction.atomic():
        services.finish_evaluation(evaluation, {"fd": {**value, "value": 9.0}})

    evaluation.refresh_from_db()
    assert evaluation.status == Status.COMPLETED
    (written,) = MetricValue.objects.filter(evaluation=evaluation)
    assert (written.value, written.details) == (1.5, {"groups": 20})


def test_finished_samples_are_evaluated_under_every_protocol() -> None:
    dataset = make_dataset()
    protocols = [make_protocol(dataset=dataset, num_images=n) for n in (50, 60)]
    experiment = make_experiment(protocols=protocols)
    control = control_of(experiment).sample_sets.get()
    claimed(control)

    services.finish_sampling(control, sha256="0" * 64)

    scored = Evaluation.objects.filter(sample_set=control)
    assert {e.protocol for e in scored} == set(protocols)
    assert control.count == 60


def test_a_long_loss_curve_is_thinned_and_keeps_its_ends() -> None:
    run = make_run()
    claimed(run)

    for step in range(1, 1001):
        services.record_training(run, points=[(step, float(step), {"loss": 1 / step})])

    points = LossPoint.objects.filter(run=run)
    assert points.count() <= services.MAX_LOSS_POINTS
    assert (points.first().images_seen, points.last().images_seen) == (1, 1000)  # type: ignore[union-attr]  # there are some


def test_a_resumed_run_adds_no_point_twice() -> None:
    run = make_run()
    claimed(run)
    points = [(seen, 0.0, {"loss": 1.0}) for seen in (10, 20, 15, 20, 30)]
    for end in range(1, 6):
        services.record_training(run, points=points[end - 1 : end])
    services.record_training(run, points=points[3:] + points[4:])

    seen = LossPoint.objects.filter(run=run).values_list("images_seen", flat=True)
    assert list(seen) == [10, 20, 30]


@pytest.mark.parametrize(
    ("resume", "words"),
    [
        ("none", {}),
        ("exact", {"resumed": "exactly"}),
        ("approximate", {"resumed": "approximately"}),
    ],
)
def test_a_run_says_whether_it_was_resumed_to_the_same_bits(
    resume: str, words: dict[str, str]
) -> None:
    make_experiment()
    run = Run.objects.get()
    claimed(run)
    services.begin_training(run, {"torch": "2", "threads": 1})

    services.finish_training(run, make_checkpoint(run=run), resume=resume)

    assert Run.objects.get().environment == {"torch": "2", "threads": 1, **words}


def test_cancelling_an_experiment_ends_what_waits_and_asks_what_runs() -> None:
    experiment = make_experiment(seeds=[0, 1])
    running = Run.objects.get(seed=0)
    claimed(running)

    assert services.cancel_experiment(experiment, user=None) == 6

    statuses = {(job.type_name(), job.status) for job in experiment.jobs()}
    assert statuses == {("run", "cancelling"), ("run", "cancelled"), ("sampleset", "cancelled")}


def test_retrying_an_experiment_queues_failed_and_cancelled_jobs() -> None:
    experiment = make_experiment(seeds=[0, 1])
    make_run(entry=experiment.entries.get(kind="generator"), seed=0, status=Status.FAILED)

    assert services.retry_experiment(experiment, user=None) == 1

    assert Run.objects.get(seed=0).status == Status.QUEUED


def test_each_attempt_of_a_sample_set_has_a_file_of_its_own() -> None:
    sample_set = make_sample_set(status=Status.QUEUED)
    claimed(sample_set)
    first = sample_set.path
    lifecycle.requeue_lost(of=type(make_worker()).objects.all())
    claimed(sample_set)

    assert sample_set.path != first
    assert sample_set.grid_path.parent == sample_set.path.parent


def test_attention_to_words_is_refused_where_models_learn_none() -> None:
    attending = {"algorithm": "diffusion.flow", "config": {"cross_attention": True}}
    data = experiment_data(protocol=make_protocol(), entries=[attending])

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(data, user=None)

    assert list(caught.value.errors) == ["entries.0.config.cross_attention"]
    assert "learn no words" in str(caught.value)
