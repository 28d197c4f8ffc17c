"""Lists and details of every resource."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rest_framework.test import APIClient

from experiments.models import Experiment
from jobs.models import Job, Status
from tests import factories

RESOURCES = [
    "datasets",
    "promptsets",
    "protocols",
    "experiments",
    "entries",
    "runs",
    "samplesets",
    "evaluations",
    "losses",
    "questions",
    "viewings",
    "workers",
    "events",
    "leaderboards",
]
# What needs an account, what is no list of rows.
OTHERS = {"audit", "deliveries", "watches", "webhooks", "queues", "uploads", "preference"}
OTHERS |= {"advice", "claims", "compare", "schema", "docs"}


def get(client: APIClient, address: str, **query: Any) -> Any:
    response = client.get(f"/api/{address}", query)
    assert response.status_code == 200, response.content
    return response.json()


def ids(client: APIClient, address: str, **query: Any) -> list[int]:
    return sorted(row["id"] for row in get(client, address, **query)["results"])


@pytest.mark.parametrize("name", RESOURCES)
def test_the_index_leads_to_every_list_and_an_empty_list_is_no_error(
    anyone: APIClient, name: str
) -> None:
    index = get(anyone, "")

    assert index.keys() == {*RESOURCES, *OTHERS}
    assert index[name] == f"http://testserver/api/{name}/"
    found = get(anyone, f"{name}/")
    assert found == [] or found["results"] == []


@pytest.mark.parametrize("name", RESOURCES)
def test_what_does_not_exist_is_not_found(anyone: APIClient, name: str) -> None:
    for key in ("999", "x" * 64, "0" * 64, "9" * 30):
        assert anyone.get(f"/api/{name}/{key}/").status_code == 404


def test_a_dataset_is_found_by_its_slug(anyone: APIClient) -> None:
    dataset = factories.make_dataset(slug="digits", classes=["0", "1"])

    found = get(anyone, "datasets/digits/")

    assert (found["digest"], found["classes"]) == (dataset.digest, ["0", "1"])
    assert (found["train_size"], found["test_size"]) == (200, 100)


def test_a_protocol_names_its_metrics_honestly_and_leads_to_its_board(anyone: APIClient) -> None:
    protocol = factories.make_protocol()

    found = get(anyone, f"protocols/{protocol.fingerprint}/")

    labels = [(metric["name"], metric["label"]) for metric in found["metrics"]]
    assert labels[0] == ("fd", "FD[classifier]")
    assert found["record"] == protocol.record
    assert anyone.get(found["leaderboard"]).json()["protocol"] == protocol.fingerprint


def test_two_protocols_are_compared_in_words(anyone: APIClient) -> None:
    one = factories.make_protocol()
    two = factories.make_protocol(dataset=one.dataset, num_images=50)
    address = f"protocols/{one.fingerprint}/compare"

    found = get(anyone, f"{address}/{two.fingerprint}/")

    assert found == {"comparable": False, "differences": one.differences(two)}
    assert "num images: 100 and 50" in found["differences"]
    assert get(anyone, f"{address}/{one.fingerprint}/") == {"comparable": True, "differences": []}
    assert anyone.get(f"/api/{address}/{'0' * 64}/").status_code == 404


def test_an_experiment_holds_complete_configs_and_how_far_it_is(anyone: APIClient) -> None:
    experiment = factories.make_experiment(
        algorithms=["gan.sngan", "vae.conv"], seeds=[0, 7], budget={"device_seconds": 2.5}
    )
    (entry, _) = factories.contenders_of(experiment)
    factories.make_run(entry=entry, seed=0, status=Status.COMPLETED)
    factories.make_run(entry=entry, seed=7, status=Status.FAILED)

    found = get(anyone, f"experiments/{experiment.pk}/")

    assert (found["budget"], found["seeds"]) == ({"device_seconds": 2.5}, [0, 7])
    assert [e["kind"] for e in found["entries"]] == [
        "control", "generator", "generator", "control", "control", "control",
    ]  # fmt: skip
    assert found["entries"][1]["config"] == entry.config
    assert found["entries"][1]["sampler_labels"] == ["direct"]
    assert found["status"] == "running"
    # 2 for each control; 2 entries with 2 seeds: a run, a sample set and an evaluation each
    assert found["progress"] == {"completed": 1, "failed": 1, "total": 20}


def test_a_run_says_what_where_and_how_far(anyone: APIClient) -> None:
    run = factories.make_run(status=Status.RUNNING)

    found = get(anyone, f"runs/{run.pk}/")

    assert found["worker"] == run.worker.name if run.worker else False
    assert (found["algorithm"], found["seed"], found["attempt"]) == ("gan.sngan", 0, 1)
    assert (found["budget_fraction"], found["images_per_second"]) == (0.5, 100.0)
    assert found["experiment"] == run.entry.experiment_id


@pytest.mark.parametrize("kind", ["runs", "samplesets", "evaluations"])
def test_a_traceback_is_for_its_owner_and_admins_alone(anyone: APIClient, kind: str) -> None:
    make: dict[str, Callable[..., Job]] = {
        "runs": factories.make_run,
        "samplesets": factories.make_sample_set,
        "evaluations": factories.make_evaluation,
    }
    job = make[kind](status=Status.FAILED)

    def errors(client: APIClient) -> list[str]:
        (row,) = [r for r in get(client, f"{kind}/")["results"] if r["status"] == "failed"]
        return [row["error"], get(client, f"{kind}/{job.pk}/")["error"]]

    assert job.error == "Traceback\nMemoryError"
    assert errors(anyone) == ["", ""]
    stranger, signed_in = factories.make_user(), APIClient()
    signed_in.force_authenticate(stranger)
    assert errors(signed_in) == ["", ""]
    Experiment.objects.update(created_by=stranger)
    assert errors(signed_in) == [job.error, job.error]
    assert get(anyone, f"{kind}/{job.pk}/")["reason"] == "out of memory"


def test_the_whole_loss_curve_and_timeline_of_a_run_are_there(anyone: APIClient) -> None:
    run = factories.make_run(loss_points=60)

    points = get(anyone, f"runs/{run.pk}/losses/")
    events = get(anyone, f"runs/{run.pk}/events/")

    assert len(points) == 60
    assert points[0] == {"images_seen": 100, "wall_seconds": 1.0, "losses": {"loss": 1.0}}
    assert [event["kind"] for event in events] == ["queued"]


def test_the_images_of_a_sample_set_are_downloaded_as_they_are(anyone: APIClient) -> None:
    sample_set = factories.make_sample_set(files=True)
    found = get(anyone, f"samplesets/{sample_set.pk}/")

    response = anyone.get(found["file"])
    data = b"".join(response.streaming_content)  # type: ignore[attr-defined]  # a FileResponse

    assert data == sample_set.path.read_bytes()
    assert response["Content-Disposition"] == (
        f'attachment; filename="samples-{sample_set.path.name}"'
    )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        assert arrays["arr_0"].shape == (100, 8, 8, 1)


def test_the_grid_of_a_sample_set_is_a_picture(anyone: APIClient) -> None:
    sample_set = factories.make_sample_set(files=True)

    response = anyone.get(f"/api/samplesets/{sample_set.pk}/grid/")

    assert response["Content-Type"] == "image/png"
    data = b"".join(response.streaming_content)  # type: ignore[attr-defined]  # a FileResponse
    assert Image.open(io.BytesIO(data)).size == (64, 64)


@pytest.mark.parametrize("what", ["file", "grid"])
def test_images_that_are_not_drawn_yet_are_not_found(anyone: APIClient, what: str) -> None:
    sample_set = factories.make_sample_set(status=Status.RUNNING)

    response = anyone.get(f"/api/samplesets/{sample_set.pk}/{what}/")

    assert response.status_code == 404
    detail = "the images are not drawn yet, or their file was removed"
    assert response.json()["detail"] == detail
    assert get(anyone, f"samplesets/{sample_set.pk}/")[what] is None


def test_an_evaluation_holds_its_values_with_reasons_for_what_is_absent(
    anyone: APIClient,
) -> None:
    evaluation = factories.make_evaluation(
        values={"fd": {"value": 2.5, "low": 2.0, "high": 3.0}, "kd": None}
    )

    found = get(anyone, f"evaluations/{evaluation.pk}/")

    values = {value["metric"]: value for value in found["values"]}
    assert values["fd"]["label"] == "FD[classifier]"
    assert (values["fd"]["value"], values["fd"]["low"], values["fd"]["high"]) == (2.5, 2.0, 3.0)
    assert (values["kd"]["value"], values["kd"]["reason"]) == (None, "not defined here")
    assert found["protocol"] == evaluation.protocol.fingerprint


@pytest.fixture
def two_experiments(db: None) -> list[Experiment]:
    """A completed GAN with seed 0, and a queued VAE with seed 5 on another dataset."""
    first = factories.make_experiment(algorithms=["gan.sngan"], seeds=[0])
    protocol = first.protocols.get()
    factories.make_scores(
        entry=factories.contenders_of(first)[0], protocol=protocol, values=[{"fd": 1.0}]
    )
    for control in factories.controls_of(first):
        factories.make_scores(entry=control, protocol=protocol, values=[{"fd": 0.5}])
    return [first, factories.make_experiment(algorithms=["vae.conv"], seeds=[5])]


def queries(experiments: list[Experiment]) -> list[dict[str, Any]]:
    """Return queries that find only the first experiment."""
    first, _ = experiments
    return [
        {"status": "completed"},
        {"dataset": first.dataset.slug},
        {"algorithm": "gan.sngan"},
    ]


def test_experiments_are_filtered(anyone: APIClient, two_experiments: list[Experiment]) -> None:
    first, second = two_experiments

    for query in [*queries(two_experiments), {"protocol": first.protocols.get().fingerprint}]:
        assert ids(anyone, "experiments/", **query) == [first.pk], query
    assert ids(anyone, "experiments/", status="queued") == [second.pk]


def test_runs_are_filtered(anyone: APIClient, two_experiments: list[Experiment]) -> None:
    first, _ = two_experiments
    (entry,) = factories.contenders_of(first)

    own = {"experiment": first.pk}, {"entry": entry.pk}, {"seed": 0}
    for query in [*queries(two_experiments), *own]:
        assert ids(anyone, "runs/", **query) == [entry.runs.get().pk], query
    assert ids(anyone, "runs/", seed=1) == []


def test_sample_sets_and_evaluations_are_filtered(
    anyone: APIClient, two_experiments: list[Experiment]
) -> None:
    first, _ = two_experiments
    (entry,) = factories.contenders_of(first)
    drawn = entry.sample_sets.get()
    evaluation = drawn.evaluations.get()

    own = {"seed": 0}, {"algorithm": "gan.sngan"}, {"entry": entry.pk}, {"run": drawn.run_id}
    for query in own:
        assert ids(anyone, "samplesets/", **query) == [drawn.pk], query
    for query in (*own, {"sample_set": drawn.pk}):
        assert ids(anyone, "evaluations/", **query) == [evaluation.pk], query


@pytest.mark.parametrize(
    "address",
    [
        "runs/?status=done",
        "runs/?seed=-1",
        "runs/?seed=99999999999999999999",
        "runs/?experiment=x",
        "experiments/?status=cancelling",
        "experiments/?algorithm=gan.other",
        "datasets/?resolution=x",
    ],
)
def test_a_filter_with_a_wrong_value_is_refused_not_ignored(
    anyone: APIClient, address: str
) -> None:
    assert anyone.get(f"/api/{address}").status_code == 400


def test_lists_come_in_pages_and_say_how_long_they_are(anyone: APIClient) -> None:
    factories.make_experiment(seeds=range(60))

    first = get(anyone, "runs/")
    second = anyone.get(first["next"]).json()

    assert (first["count"], len(first["results"]), len(second["results"])) == (60, 50, 10)
    assert anyone.get("/api/runs/?page=3").status_code == 404


def test_a_long_list_of_experiments_takes_no_more_queries_than_a_short_one(
    anyone: APIClient, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        factories.make_experiment(algorithms=["gan.sngan", "vae.conv"], seeds=[0, 1])

    with django_assert_max_num_queries(8):
        get(anyone, "experiments/")


def test_workers_say_what_they_are_and_whether_they_take_jobs(anyone: APIClient) -> None:
    worker = factories.make_worker()

    (found,) = get(anyone, "v1/workers/")["results"]

    assert (found["name"], found["queues"], found["is_alive"]) == (worker.name, worker.queues, True)
    assert get(anyone, f"v1/workers/{worker.pk}/") == found


def test_every_line_of_every_timeline_is_listed_the_newest_first(anyone: APIClient) -> None:
    run = factories.make_run(status=Status.FAILED)
    other = factories.make_run()

    every = get(anyone, "v1/events/")["results"]
    (queued,) = get(anyone, "v1/events/", job_type="run", job_id=other.pk)["results"]

    assert [event["id"] for event in every] == sorted((e["id"] for e in every), reverse=True)
    assert len(every) == get(anyone, "v1/events/")["count"] > 2
    assert (queued["kind"], queued["job_type"], queued["job_id"]) == ("queued", "run", other.pk)
    assert anyone.get("/api/v1/events/?kind=nothing").status_code == 400
    assert get(anyone, "v1/events/", job_type="evaluation")["results"] == []
    assert run.events.count() == get(anyone, "v1/events/", job_id=run.pk, job_type="run")["count"]


def test_the_checkpoints_of_a_run_are_listed(anyone: APIClient) -> None:
    run = factories.make_run()
    made = [factories.make_checkpoint(run=run, images_seen=seen) for seen in (100, 200)]

    found = get(anyone, f"v1/runs/{run.pk}/checkpoints/")

    assert [point["id"] for point in found] == [point.pk for point in made]
    assert found[0]["sha256"] == made[0].sha256


def test_searches_are_told_with_their_trials_and_what_was_chosen(anyone: APIClient) -> None:
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    search = {"options": {"beta": "0.1..10 log"}, "objective": "fd", "trials": 2}
    entry = {"algorithm": "vae.conv", "label": "tuned", "search": search}
    experiment = factories.make_experiment(protocols=[protocol], entries=[entry], seeds=[0, 1])
    address = f"experiments/{experiment.pk}/searches/"

    [before] = get(anyone, address)
    for trial, fd in zip(before["tried"], (2.0, 1.0), strict=True):
        tried = experiment.entries.get(pk=trial["entry"])
        factories.make_scores(entry=tried, protocol=protocol, values=[{"fd": fd}])
    [after] = get(anyone, address)

    assert (before["best"], before["winner"]) == (None, None)
    assert before["standing"] == "0 of 2 trials have ended."
    assert before["options"] == search["options"] and before["objective"] == "fd"
    assert [(each["state"], each["value"]) for each in after["tried"]] == [
        ("scored", 2.0), ("scored", 1.0),
    ]  # fmt: skip
    assert (after["best"], after["fresh_seeds"]) == (2, [2, 3])
    told = {row["id"]: row for row in get(anyone, f"experiments/{experiment.pk}/")["entries"]}
    winner = told[after["winner"]]
    assert (winner["label"], winner["trial"], winner["search"]) == ("tuned", 0, after["id"])
    assert winner["config"]["beta"] == after["tried"][1]["chosen"]["beta"]
    assert after["note"] == f"chosen by search of 2 trials, by {protocol.metric_label('fd')}"
    others = [row for row in told.values() if row["kind"] == "control"]
    assert {(row["search"], row["trial"]) for row in others} == {(None, None)}
    assert get(anyone, f"experiments/{factories.make_experiment().pk}/searches/") == []


def test_a_waiting_job_says_why_and_a_training_how_long_it_takes(anyone: APIClient) -> None:
    budget = {"device_seconds": 60}
    first, second = (factories.make_experiment(budget=budget) for _ in range(2))
    (run,) = second.entries.get(kind="generator").runs.all()

    told = get(anyone, f"runs/{run.pk}/outlook/")

    assert told["status"] == "queued" and "no worker is online" in told["waits"]
    assert told["ahead"] == 1 and told["seconds_left"] is None  # the first one's run
    assert (told["expected_seconds"], told["expected_by"]) == (60, 0)
    (other,) = first.entries.get(kind="generator").runs.all()
    factories.make_run(entry=other.entry, status=Status.RUNNING)
    running = get(anyone, f"runs/{other.pk}/outlook/")
    assert (running["percent"], running["seconds_left"], running["waits"]) == (50, 5.0, "")
    assert running["ahead"] is running["expected_seconds"] is None
    evaluation = factories.make_evaluation()
    for address in (f"evaluations/{evaluation.pk}", f"samplesets/{evaluation.sample_set_id}"):
        done = get(anyone, f"{address}/outlook/")
        assert (done["status"], done["percent"], done["waits"]) == ("completed", 100, "")
