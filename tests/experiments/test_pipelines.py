"""Pipelines that were trained elsewhere: refused with reasons, sampled by a worker, scored as ours."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from pytest_django.fixtures import Settings

from catalog.models import Protocol
from catalog.services import Scoring, register_protocol
from experiments import services, tasks
from experiments.models import (
    Checkpoint,
    Entry,
    Evaluation,
    Experiment,
    MetricValue,
    SampleSet,
)
from experiments.submission import beginning
from experiments.submission.record import record_of
from experiments.submission.specification import SpecificationError, read_experiment
from generators.specs.pipelines import card as cards
from generators.specs.pipelines.reading import inspect
from jobs.models import Status
from leaderboards import export, ranking, tables
from tests import factories
from tests.experiments.test_pipeline import work_off
from tests.generators.pipelines import tiny
from tests.generators.pipelines.test_reading import changed

# Heartbeats write from a thread of their own, which must see what the test wrote.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("engine_here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # diffusers' schedulers
]
REVISION = "0123456789abcdef" * 2 + "01234567"
Place = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_beats(settings: Settings) -> None:
    settings.BEAT_SECONDS = 600  # nothing here takes so long


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tiny pipelines, each made once."""
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture
def place(made: Path, data_dir: Path) -> Place:
    """Put a tiny pipeline into the site's storage; the test's own to change."""

    def put(name: str, **options: Any) -> Path:
        if name in tiny.WITH_WORDS and find_spec("transformers") is None:
            pytest.skip("needs the extra [text]: transformers is not installed")
        key = name + "".join(map(str, options.values()))
        if not (made / key).exists():
            {**tiny.WITHOUT_WORDS, **tiny.WITH_WORDS}[name](made / key, **options)
        return Path(shutil.copytree(made / key, data_dir / "pipelines" / name))

    return put


@pytest.fixture
def protocol() -> Protocol:
    """What scores 12 colour images of 8x8."""
    return factories.make_protocol(
        dataset=factories.make_dataset(channels=3, files=True, classes=()), num_images=12
    )


@pytest.fixture
def asking() -> Protocol:
    """What asks with three prompts, twice each, on colour images of 16x16."""
    texts = ("a red circle", "a blue circle", "two crosses")
    dataset = factories.make_dataset(
        channels=3, resolution=16, files=True, classes=(), texts=texts, train_size=40, test_size=20
    )
    return factories.make_protocol(
        dataset=dataset, prompts=factories.make_prompts(*texts), num_images=6
    )


def data(protocol: Protocol, *entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found = factories.experiment_data(protocol=protocol, entries=list(entries), **changes)
    return found if "budget" in changes else {**found, "budget": None}


def submit(protocol: Protocol, *entries: dict[str, Any], **changes: Any) -> Experiment:
    return services.submit_data(data(protocol, *entries, **changes), user=None)


def refused(protocol: Protocol, **entry: Any) -> dict[str, str]:
    with pytest.raises(SpecificationError) as caught:
        submit(protocol, {"pipeline": "ddpm", **entry})
    assert not Experiment.objects.exists() and not SampleSet.objects.exists()
    return {path.removeprefix("entries.0."): text for path, text in caught.value.errors.items()}


def draw(experiment: Experiment) -> None:
    """Draw what pipelines have to draw."""
    for each in SampleSet.objects.filter(
        entry__kind=Entry.Kind.PIPELINE, entry__experiment=experiment
    ):
        draw_one(each)


def draw_one(sample_set: SampleSet) -> None:
    """Answer bells until it is drawn: a worker takes what is most urgent."""
    while SampleSet.objects.filter(pk=sample_set.pk, status=Status.QUEUED).exists():
        tasks.draw_samples(sample_set.pk)


def set_of(experiment: Experiment) -> SampleSet:
    return SampleSet.objects.get(entry__experiment=experiment, entry__kind=Entry.Kind.PIPELINE)


# --- submitting ---------------------------------------------------------------------------------


def test_a_pipeline_is_an_entry_without_runs(place: Place, protocol: Protocol) -> None:
    place("ddpm")
    samplers = [{"steps": 2}, {"scheduler": "DDIMScheduler", "steps": "3"}]

    experiment = submit(
        protocol, {"pipeline": "ddpm", "label": "Theirs", "samplers": samplers}, seeds=2
    )

    entry = experiment.entries.get(kind="pipeline")
    assert (entry.label, entry.algorithm, entry.family_label) == ("Theirs", "", "Pipeline")
    assert experiment.budget == "" and not entry.runs.exists()
    assert entry.config["card"]["pipeline"] == "DDPMPipeline"
    assert entry.config["precision"] == "float32"
    assert (entry.samplers[0]["steps"], entry.samplers[0]["width"]) == (2, 8)
    sets = entry.sample_sets.order_by("seed", "pk")
    assert [(s.sampler_label, s.seed, s.first_seed, s.count) for s in sets] == [
        ("DDPM 2", 0, 0, 12),
        ("DDIM 3", 0, 0, 12),
        ("DDPM 2", 1, services.SEEDS_PER_RUN, 12),
        ("DDIM 3", 1, services.SEEDS_PER_RUN, 12),
    ]
    assert {s.queue for s in sets} == {"gpu"} and {s.status for s in sets} == {"queued"}


def test_a_pipeline_stands_beside_a_training(place: Place, protocol: Protocol) -> None:
    place("ddpm")
    entries = [{"algorithm": "gan.sngan"}, {"pipeline": "ddpm"}]

    experiment = submit(protocol, *entries, budget={"images": 1000}, memory_gb=3)

    kinds = list(experiment.entries.values_list("kind", flat=True))
    assert [kind for kind in kinds if kind != "control"] == ["generator", "pipeline"]
    assert set_of(experiment).memory_gb == 3
    again, is_new = services.submit_once(
        data(protocol, *entries, name=experiment.name, budget={"images": 1000}, memory_gb=3),
        user=None,
    )
    assert (again, is_new) == (experiment, False)


def test_a_pipeline_joins_an_experiment_with_its_seeds(place: Place, protocol: Protocol) -> None:
    place("ddpm")
    told = data(protocol, {"algorithm": "gan.sngan"}, budget={"images": 1000}, seeds=2)
    owner, other = factories.make_user(), factories.make_user()
    experiment = services.submit_data(told, user=owner)
    joining = {"experiment": experiment.name, "entries": [{"pipeline": "ddpm", "label": "Theirs"}]}

    with pytest.raises(PermissionDenied):
        services.submit_data(joining, user=other)
    assert services.submit_once(joining, user=owner) == (experiment, True)
    assert services.submit_once(joining, user=owner) == (experiment, False)

    entry = experiment.entries.get(kind="pipeline")
    sets = entry.sample_sets.order_by("seed")
    assert [(each.seed, each.status) for each in sets] == [(0, "queued"), (1, "queued")]
    again, is_new = services.submit_once(told, user=owner)  # as it was submitted
    assert (again, is_new) == (experiment, False)
    another = {"pipeline": "ddpm", "label": "Theirs", "samplers": [{"steps": 2}]}
    with pytest.raises(SpecificationError, match="'Theirs' is taken, expected another"):
        services.submit_once({**joining, "entries": [another]}, user=owner)
    spec = {**record_of(experiment), "name": "again"}
    copy = services.submit_data(spec, user=None)
    assert copy.entries.get(kind="pipeline").samplers == entry.samplers


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"experiment": "none"}, "experiment", "expected the name or number of one, got 'none'"),
        ({"seeds": 3}, "seeds", "unknown field, expected one of: entries, experiment"),
        ({"entries": [{"algorithm": "gan.sngan"}]}, "entries.0.algorithm", "expected a pipeline"),
        ({"entries": [{"pipeline": "none"}]}, "entries.0.pipeline", "none: expected a pipeline's"),
        (
            {"entries": [{"pipeline": "ddpm", "label": "SNGAN"}]},
            "entries.0.label",
            "'SNGAN' is taken, expected another",
        ),
        ({"entries": []}, "entries", "expected a list of 1 to 50 entries"),
    ],
)
def test_what_cannot_join_is_said_at_its_field(
    changes: dict[str, Any], field: str, message: str, place: Place, protocol: Protocol
) -> None:
    place("ddpm")
    experiment = submit(protocol, {"algorithm": "gan.sngan"}, budget={"images": 1000})
    joining = {"experiment": experiment.pk, "entries": [{"pipeline": "ddpm"}], **changes}

    with pytest.raises(SpecificationError) as caught:
        services.submit_data(joining, user=None)

    assert list(caught.value.errors) == [field]
    assert caught.value.errors[field].startswith(message)
    assert not experiment.entries.filter(kind="pipeline").exists()


def test_weights_that_need_a_larger_device_wait_for_one(
    place: Place, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = inspect(place("ddpm"), digests=False).parameters
    monkeypatch.setattr(beginning, "GB", parameters)  # a device's memory is counted in such

    def needed(**config: Any) -> int:
        return set_of(submit(protocol, {"pipeline": "ddpm", "config": config})).memory_gb

    assert (needed(), needed(precision="bfloat16"), needed(offload="sequential")) == (4, 2, 0)


def test_a_hubs_pipeline_says_how_far_it_is_and_must_fit(
    place: Place, protocol: Protocol, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from experiments.work import pipelines  # noqa: PLC0415  # loads torch
    from jobs.execution import Heartbeat  # noqa: PLC0415

    folder = place("ddpm").rename(tmp_path / "downloaded")
    told: list[str] = []

    def download(source: str, revision: str, **how: Any) -> Path:
        assert (how["download"], how["most_bytes"]) == (True, 100 * 10**9)
        how["on_bytes"](1_500_000_000, 3_000_000_000)
        return folder

    def report(self: Heartbeat, **progress: Any) -> None:
        told.append(progress.get("step", ""))

    monkeypatch.setattr(pipelines, "find_pipeline", download)  # its own tests have a hub
    monkeypatch.setattr(Heartbeat, "report", report)
    experiment = submit(protocol, {"pipeline": "us/tiny", "revision": REVISION})
    monkeypatch.setattr("jobs.presence.device", lambda: ("a toy", 1000))

    draw(experiment)

    failed = set_of(experiment)
    assert "downloading us/tiny: 1.50 of 3.00 GB" in told
    assert (failed.status, failed.cause) == (Status.FAILED, "out of memory")
    assert failed.reason.startswith("too little memory: the weights of DDPMPipeline need 0.0 GB")


def test_pipelines_alone_have_no_budget(place: Place, protocol: Protocol) -> None:
    place("ddpm")

    with pytest.raises(SpecificationError) as caught:
        read_experiment(data(protocol, {"pipeline": "ddpm"}, budget={"images": 1000}))

    assert caught.value.errors == {"budget": "expected none: pipelines alone are not trained here"}


@pytest.mark.parametrize(
    ("entry", "field", "message"),
    [
        ({"pipeline": "../ddpm"}, "pipeline", "expected the name of a folder of the storage, got"),
        ({"pipeline": "/etc"}, "pipeline", "expected the name of a folder of the storage, got"),
        ({"pipeline": "none"}, "pipeline", "none: expected a pipeline's folder, found nothing"),
        ({"pipeline": 3}, "pipeline", "expected a folder's name or a hub id, got 3"),
        ({"pipeline": "us/x", "revision": "main"}, "revision", "us/x: expected a revision of 40"),
        ({"algorithm": "gan.sngan"}, "algorithm", "unknown field, expected one of: config, label"),
        ({"config": {"precison": "x"}}, "config.precison", "unknown field, did you mean 'prec"),
        ({"config": {"tiling": True}}, "config.tiling", "expected off: DDPMPipeline decodes noth"),
        ({"samplers": [{"scheduler": "Mine"}]}, "samplers.0.scheduler", "expected one of own, DD"),
        ({"samplers": [{}, {"steps": 101}]}, "samplers.1.steps", "expected at most the schedule"),
        ({"samplers": [{"guidance": 2}]}, "samplers.0.guidance", "expected 1: DDPMPipeline know"),
        ({"samplers": [{}, {}]}, "samplers.1", "DDPM 100 is there already"),
        ({"samplers": "ddim"}, "samplers", "expected a list of 1 to 20 samplers"),
        ({"label": "x" * 101}, "label", "expected a name of 1 to 100 characters, got"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    entry: dict[str, Any], field: str, message: str, place: Place, protocol: Protocol
) -> None:
    place("ddpm")

    errors = refused(protocol, **entry)

    assert list(errors) == [field] and errors[field].startswith(message)


def _code(folder: Path) -> None:
    (folder / "mine.py").touch()


def _pickle(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _remote(folder: Path) -> None:
    changed(folder / "unet" / "config.json", auto_map={"AutoModel": "mine.Model"})


def _missing(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")


def _link(folder: Path) -> None:
    moved = folder.rename(folder.parents[1] / "elsewhere")
    folder.symlink_to(moved)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_code, "mine.py: expected no code, a pipeline's folder is data"),
        (_pickle, "got a pickle, which is code"),
        (_remote, "unet/config.json: asks for remote code (auto_map), which is not run here"),
        (_missing, "scheduler: expected its folder scheduler/, it is missing"),
        (_link, "ddpm: expected a folder of the storage, got a link"),
    ],
)
def test_a_folder_that_is_no_plain_data_is_refused(
    spoil: Callable[[Path], None], message: str, place: Place, protocol: Protocol
) -> None:
    spoil(place("ddpm"))

    assert message in refused(protocol)["pipeline"]


def test_what_the_protocols_cannot_score_is_refused(place: Place) -> None:
    place("classed_consistency")
    place("ddpm")
    grey = factories.make_protocol(num_images=12)
    larger = factories.make_protocol(
        dataset=factories.make_dataset(channels=3, resolution=16), num_images=12
    )

    assert refused(grey)["pipeline"].startswith("expected images of 1 channels as dataset-")
    assert refused(larger)["samplers.0.width"].startswith("expected at least 16 pixels, the side")
    colour = factories.make_protocol(dataset=factories.make_dataset(channels=3), num_images=12)
    errors = refused(colour, pipeline="classed_consistency")
    assert "this one has 5" in errors["pipeline"]


def test_words_and_their_extra_are_needed(
    place: Place, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    place("stable_diffusion")
    errors = refused(protocol, pipeline="stable_diffusion")
    assert errors["pipeline"] == (
        "StableDiffusionPipeline draws what words ask for: expected protocols with prompts, or a "
        "dataset with captions"
    )

    monkeypatch.setattr(cards, "installed", lambda package: False)
    errors = refused(protocol, pipeline="stable_diffusion")
    assert "expected the package transformers, not installed: pip install" in errors["pipeline"]


# --- sampling -----------------------------------------------------------------------------------


def test_a_pipeline_is_sampled_scored_and_shown(
    place: Place, protocol: Protocol, client: Client
) -> None:
    place("ddpm")
    sampler = {"scheduler": "DDIMScheduler", "steps": 2}
    experiment = submit(protocol, {"pipeline": "ddpm", "samplers": [sampler]}, seeds=2)

    draw(experiment)

    first, second = SampleSet.objects.filter(entry__kind="pipeline").order_by("seed")
    for each in (first, second):
        assert each.status == Status.COMPLETED, each.reason + each.error
    with np.load(first.path) as arrays:
        assert arrays["arr_0"].shape == (12, 8, 8, 3)
    assert first.sha256 != second.sha256 and first.grid_path.is_file()
    assert first.nfe == 2 and first.images_per_second and first.latency_seconds
    made_by = first.provenance
    assert made_by["sampler"]["scheduler"] == "DDIMScheduler" and made_by["blackened"] is None
    assert all(len(part["digest"]) == 64 for part in made_by["card"]["components"])
    assert made_by["environment"]["diffusers"] and first.findings == []
    assert Evaluation.objects.filter(sample_set=first).count() == 1
    assert list(first.path.parent.glob("*-parts")) == []

    numbers = dict.fromkeys(protocol.metrics, 1.0)
    for each in (first, second):
        factories.make_evaluation(sample_set=each, protocol=protocol, values=numbers)
    board = ranking.rank(protocol)
    (row,) = [row for row in board.rows if not row.is_control]
    cells = row.cells
    assert (row.kind, row.seeds_scored, row.seeds_total) == ("Pipeline", 2, 2)
    assert cells["nfe"].value == 2 and cells["device_seconds"].unknown
    parameters = sum(part["parameters"] or 0 for part in made_by["card"]["components"])
    assert cells["parameters"].value == parameters > 0
    (flat,) = [each for each in export.rows(board) if each["kind"] == "pipeline"]
    assert (flat["device_seconds is"], flat["nfe is"]) == ("unknown", "measured")

    page = client.get(experiment.get_absolute_url()).content.decode()
    assert "Pipelines</h2>" in page and "UNet2DModel" in page and "no safety checker" in page
    told = client.get(f"/api/samplesets/{first.pk}/").json()
    assert told["provenance"]["card"]["digest"] == made_by["card"]["digest"]


def test_a_board_that_mixes_kinds_says_so(place: Place, protocol: Protocol) -> None:
    place("ddpm")
    entries = [{"algorithm": "gan.sngan"}, {"pipeline": "ddpm"}]
    submit(protocol, *entries, budget={"images": 1000})

    table = tables.table(ranking.rank(protocol), page="/")

    assert table.mixed == "1 trained here, 1 pipeline"


def test_prompts_are_asked_and_larger_images_made_smaller(place: Place, asking: Protocol) -> None:
    place("stable_diffusion", most=-1.0)
    sampler = {"steps": 1, "negative_prompt": "a dog"}
    experiment = submit(asking, {"pipeline": "stable_diffusion", "samplers": [sampler]})

    draw(experiment)

    drawn = set_of(experiment)
    assert drawn.status == Status.COMPLETED, drawn.reason + drawn.error
    assert drawn.sampler_label == "PNDM 1 w=7.5 not 'a dog'"
    with np.load(drawn.path) as arrays:
        assert arrays["arr_0"].shape == (6, 16, 16, 3) and arrays["arr_0"].max() == 0
        assert arrays["captions"].tolist() == ["a red circle", "a blue circle", "two crosses"] * 2
    assert (drawn.nfe, drawn.provenance["blackened"], drawn.provenance["cut"]) == (2, 6, 0)
    assert drawn.findings == [
        "6 of 6 images were blackened by its safety checker",
        "drawn at 32x32, cropped to the central square and made 16x16 (PIL Lanczos)",
    ]


def test_prompts_that_are_too_long_are_refused_or_cut_and_counted(place: Place) -> None:
    place("stable_diffusion")
    texts = ("a red circle", "a " * 80 + "square")
    dataset = factories.make_dataset(
        channels=3, resolution=16, files=True, classes=(), texts=texts, train_size=40, test_size=20
    )
    protocol = factories.make_protocol(dataset=dataset, num_images=6)
    whole, cut = {"steps": 1}, {"steps": 2, "long_prompts": "cut"}
    experiment = submit(protocol, {"pipeline": "stable_diffusion", "samplers": [whole, cut]})

    draw(experiment)

    first, second = SampleSet.objects.filter(entry__kind="pipeline").order_by("pk")
    assert (first.status, first.cause) == (Status.FAILED, "bad input")
    assert "1 of 2 prompts are too long: expected at most 77 tokens" in first.reason
    assert not first.path.exists() and not first.evaluations.exists()
    assert second.status == Status.COMPLETED and second.provenance["cut"] == 1
    assert second.findings[0].startswith("1 prompts are longer than its text encoder reads; of")


def test_another_folder_than_was_submitted_is_not_drawn(place: Place, protocol: Protocol) -> None:
    folder = place("ddpm")
    samplers = [{"steps": 2}, {"steps": 3}, {"steps": 4}]
    experiment = submit(protocol, {"pipeline": "ddpm", "samplers": samplers})
    first, second, third = SampleSet.objects.filter(entry__kind="pipeline").order_by("pk")
    draw_one(first)

    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    draw_one(second)
    shutil.rmtree(folder / "unet")
    draw_one(third)

    states = [SampleSet.objects.get(pk=each.pk) for each in (first, second, third)]
    assert [each.status for each in states] == ["completed", "failed", "failed"]
    assert states[1].reason.startswith("pipelines/ddpm: expected the files of digest")
    assert states[1].reason.endswith("the folder is not what it was")
    assert "unet: expected its folder unet/, it is missing" in states[2].reason
    assert SampleSet.objects.filter(entry__experiment=experiment, provenance={}).exists()


def test_a_folder_that_changed_before_it_was_drawn_is_refused(
    place: Place, protocol: Protocol
) -> None:
    folder = place("ddpm")
    experiment = submit(protocol, {"pipeline": "ddpm", "samplers": [{"steps": 2}]})
    changed(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=50)

    draw(experiment)

    assert set_of(experiment).reason == (
        "ddpm: is not what it was when it was submitted: components, timesteps"
    )


def test_a_hubs_pipeline_is_looked_for_in_the_storage(place: Place, protocol: Protocol) -> None:
    folder = place("ddpm")
    at = folder.parent / "us--tiny" / REVISION
    at.parent.mkdir()
    folder.rename(at)

    experiment = submit(
        protocol, {"pipeline": "us/tiny", "revision": REVISION, "samplers": [{"steps": 2}]}
    )
    draw(experiment)

    drawn = set_of(experiment)
    assert drawn.status == Status.COMPLETED, drawn.reason + drawn.error
    assert (drawn.entry.label, drawn.entry.config["revision"]) == ("tiny", REVISION)


def test_a_hubs_pipeline_that_cannot_be_had_fails_with_a_reason(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants  # noqa: PLC0415  # of the worker

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    experiment = submit(protocol, {"pipeline": "us/none", "revision": REVISION})

    draw(experiment)

    failed = set_of(experiment)
    assert (failed.status, failed.sampler_label) == (Status.FAILED, "own")
    assert failed.reason.startswith(f"us/none at {REVISION}: neither here nor to be had from")
    assert f"; put its files into pipelines/us--none/{REVISION}: " in failed.reason


def test_an_attempt_goes_on_where_another_was_killed(
    place: Place, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.work import parts, pipelines  # noqa: PLC0415  # loads torch
    from generators.pipelines.drawing import draw_all  # noqa: PLC0415

    place("ddpm")
    protocol_of_40 = factories.make_protocol(dataset=protocol.dataset, num_images=40)
    entry = {"pipeline": "ddpm", "samplers": [{"steps": 2}]}
    whole, broken = submit(protocol_of_40, entry), submit(protocol_of_40, entry)
    draw(whole)
    write, asked = parts.Parts.write, []

    def die(self: parts.Parts, start: int, part: parts.Part) -> None:
        write(self, start, part)
        if start:
            raise KeyboardInterrupt

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(list(options["seeds"]))
        return draw_all(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "write", die)
        with pytest.raises(KeyboardInterrupt):
            draw_one(set_of(broken))
    SampleSet.objects.filter(pk=set_of(broken).pk).update(
        status=Status.QUEUED, worker=None, lease_until=None
    )
    monkeypatch.setattr(pipelines, "draw_all", counted)
    draw(broken)

    again = set_of(broken)
    assert again.status == Status.COMPLETED, again.reason + again.error
    assert asked == [list(range(32, 40))] and again.provenance["from_before"] == 32
    assert again.attempt == 2 and again.sha256 == set_of(whole).sha256
    assert json.dumps(again.provenance["card"]) == json.dumps(set_of(whole).provenance["card"])


def test_a_cancelled_set_stops_within_a_batch(
    place: Place, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.execution import Heartbeat  # noqa: PLC0415

    place("ddpm")
    experiment = submit(protocol, {"pipeline": "ddpm"})
    asked: list[int] = []

    def should_stop(self: Heartbeat) -> bool:
        asked.append(0)
        if len(asked) == 3:
            services.cancel_job(set_of(experiment), user=None)
        return len(asked) >= 3

    monkeypatch.setattr(Heartbeat, "should_stop", should_stop)
    draw(experiment)

    assert set_of(experiment).status == Status.CANCELLED and len(asked) == 3
    assert not list((set_of(experiment).path.parent).glob("*.npz"))


# --- whole ways ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_our_own_export_scores_as_the_original(data_dir: Path) -> None:
    from generators.trained.export import export_diffusers  # noqa: PLC0415  # loads torch
    from generators.trained.sampling import load_generator  # noqa: PLC0415

    dataset = factories.make_dataset(files=True, classes=(), train_size=400, test_size=300)
    scoring = Scoring(extractor="pixels-pca64", metrics=("kd",), num_images=300)
    protocol = register_protocol(dataset, scoring, admission_images=0)[0]
    config = {"base_channels": 8, "timesteps": 10, "batch_size": 20}
    sampler = {"name": "ddim", "steps": 5}
    trained = factories.make_experiment(
        protocols=[protocol],
        entries=[{"algorithm": "diffusion.ddpm", "config": config, "samplers": [sampler]}],
        budget={"images": 200},
    )
    work_off()
    checkpoint = Checkpoint.objects.filter(run__entry__experiment=trained).last()
    assert checkpoint is not None
    export_diffusers(load_generator(data_dir / checkpoint.path), data_dir / "pipelines" / "ours")

    submit(protocol, {"pipeline": "ours", "samplers": [{"steps": 5}]})
    work_off()

    ours, theirs = (SampleSet.objects.get(entry__kind=kind) for kind in ("generator", "pipeline"))
    with np.load(ours.path) as one, np.load(theirs.path) as other:
        assert np.abs(one["arr_0"].astype(int) - other["arr_0"]).max() <= 1
        assert one["arr_0"].std() > 1
    assert ours.nfe == theirs.nfe == 5
    first, second = (
        MetricValue.objects.get(evaluation__sample_set=each, metric="kd") for each in (ours, theirs)
    )
    assert first.low is not None and first.high is not None, first.reason
    assert second.value is not None and first.low < second.value < first.high


def test_parts_that_we_exported_are_an_entry(protocol: Protocol, data_dir: Path) -> None:
    from generators.trained.export import export_diffusers  # noqa: PLC0415  # loads torch
    from tests.generators.trained.test_parts import made  # noqa: PLC0415

    shown = made("diffusion.flow", (3, 8, 8), self_conditioning=True, patch=2)
    export_diffusers(shown, data_dir / "pipelines" / "ours", label=1, steps=2)

    experiment = submit(protocol, {"pipeline": "ours", "samplers": [{}, {"steps": 3}]})
    draw(experiment)

    sets = experiment.entries.get(kind="pipeline").sample_sets.order_by("pk")
    assert [each.status for each in sets] == ["completed"] * 2, sets[0].reason
    assert [(each.sampler_label, each.nfe) for each in sets] == [("euler 2", 2), ("euler 3", 3)]
    assert sets[0].provenance["sampler"]["scheduler"] == "euler"
    assert sets[0].provenance["card"]["pipeline"] == "diffusion.flow"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sampler", "nfe"),
    [
        ("stable_diffusion_xl", {"steps": 2}, 4),
        ("stable_diffusion_3", {"steps": 2}, 4),
        ("pixart", {"steps": 2, "scheduler": "DDIMScheduler"}, 4),
        ("dit", {"steps": 2}, 4),
        ("consistency", {"steps": 2}, 2),
        ("ddpm", {"steps": 2}, 2),
    ],
)
def test_every_kind_of_pipeline_goes_the_whole_way(
    name: str, sampler: dict[str, Any], nfe: int, place: Place
) -> None:
    place(name)
    classes = [f"class {number}" for number in range(1000)] if name == "dit" else []
    texts = ("a red circle", "a blue circle") if name in tiny.WITH_WORDS else ()
    dataset = factories.make_dataset(
        channels=3, files=True, classes=classes, texts=texts, train_size=1000, test_size=1000
    )
    scoring = Scoring(extractor="pixels-pca64", metrics=("fd",), num_images=70)
    protocol = register_protocol(dataset, scoring, admission_images=0)[0]
    experiment = submit(protocol, {"pipeline": name, "samplers": [sampler]})

    work_off()

    drawn = set_of(experiment)
    assert drawn.nfe == nfe
    value = MetricValue.objects.get(evaluation__sample_set=drawn, metric="fd")
    assert value.value is not None and value.value > 0
