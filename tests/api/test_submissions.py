"""A submission over REST: rehearsed, asked for twice, read back, written in YAML, deleted."""

from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.test import APIClient

from accounts.models import AuditEvent, Role
from api.models import Answer
from catalog.models import Protocol
from experiments import services
from experiments.models import Entry, Experiment, MetricValue, Run, SampleSet
from experiments.submission.plain import read_yaml
from experiments.submission.record import record_of
from jobs.models import JobEvent, Status
from tests import factories
from tests.api.test_problems import problem

EXPERIMENTS = "/api/v1/experiments/"
YAML = "application/yaml"


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol()


def submission(protocol: Protocol, **changes: Any) -> dict[str, Any]:
    return factories.experiment_data(protocol=protocol, **changes)


RICH = [
    {"algorithm": "gan.r3gan", "preset": "tiny"},
    {"algorithm": "vae.conv", "label": "β = 1", "config": {"variant": "beta", "beta": 0.00001}},
    {
        "algorithm": "diffusion.ddpm",
        "samplers": [{"name": "ddim", "steps": 20}, {"name": "ddim", "steps": 100}],
    },
]


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(
    writer: APIClient,
    protocol: Protocol,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    data = submission(protocol, entries=RICH, seeds=2)

    with django_capture_on_commit_callbacks() as rung:
        told = writer.post(f"{EXPERIMENTS}?dry_run=true", data)

    assert (told.status_code, rung) == (200, [])
    assert not Experiment.objects.exists() and not JobEvent.objects.exists()
    assert not AuditEvent.objects.exists()
    made = writer.post(EXPERIMENTS, data).json()
    assert told.json()["runs"] == Run.objects.count() == 6
    assert told.json()["jobs"] == made["progress"]["total"]
    assert told.json()["warnings"] == made["warnings"]
    assert told.json()["spec"] == writer.get(f"{made['url']}spec/").json()


def test_a_dry_run_is_refused_exactly_as_the_submission_is(
    writer: APIClient, protocol: Protocol
) -> None:
    factories.make_experiment(name="taken", protocols=[protocol])
    for data in (submission(protocol, name="taken"), {"name": "", "seeds": -1}):
        dry, real = (writer.post(EXPERIMENTS + query, data) for query in ("?dry_run=true", ""))

        assert dry.status_code == 400
        assert dry.json() == real.json()


def test_a_dry_run_is_asked_for_in_plain_words(writer: APIClient, protocol: Protocol) -> None:
    told = problem(writer.post(f"{EXPERIMENTS}?dry_run=1", submission(protocol)), 400)

    assert told["errors"] == {"dry_run": "expected true or false, got '1'"}
    assert writer.post(f"{EXPERIMENTS}?dry_run=false", submission(protocol)).status_code == 201


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_what_was_submitted_is_submitted_again_from_its_spec(
    writer: APIClient, protocol: Protocol, form: str
) -> None:
    budget = {"device_seconds": 90.5}
    first = writer.post(
        EXPERIMENTS, submission(protocol, entries=RICH, seeds=[3, 7], budget=budget, memory_gb=4)
    ).json()
    got = writer.get(f"{first['url']}spec/?format={form}")
    text = got.content.decode()
    kind = {"json": "application/json", "yaml": f"{YAML}; charset=utf-8"}[form]
    assert got["Content-Type"] == kind

    name = first["name"]
    again = writer.post(EXPERIMENTS, text.replace(name, f"{name} again"), content_type=kind)

    assert again.status_code == 201, again.json()
    one, two = Experiment.objects.order_by("pk")
    assert record_of(two) == {**record_of(one), "name": f"{one.name} again"}
    assert services.submit_once(read_yaml(text), user=None) == (one, False)


def test_what_was_made_elsewhere_has_no_spec(anyone: APIClient) -> None:
    experiment = factories.make_experiment()
    factories.make_external(experiment)
    experiment.entries.filter(kind=Entry.Kind.GENERATOR).delete()

    told = problem(anyone.get(f"{EXPERIMENTS}{experiment.pk}/spec/"), 409)

    assert "nothing is trained" in told["detail"]


def test_the_example_of_the_readme_is_taken_as_yaml(writer: APIClient, protocol: Protocol) -> None:
    text = f"""
name: Does β matter?
dataset: {protocol.dataset.slug}
protocols: ["{protocol.fingerprint[:12]}"]     # fingerprint, or its beginning; in quotes
budget: {{images: 1000000}}       # or {{device_seconds: 600}}; the same for every entry
seeds: 3                        # or [0, 1, 7]
entries:
  - {{algorithm: vae.conv, label: β = 1, config: {{variant: beta, beta: 1}}}}
  - {{algorithm: vae.conv, label: β = 4, config: {{variant: beta, beta: 4}}}}
  - {{algorithm: gan.r3gan, preset: tiny}}          # defaults, then the preset's, then config's
  - algorithm: diffusion.ddpm
    samplers: [{{name: ddim, steps: 20}}, {{name: ddim, steps: 100}}]
"""
    response = writer.post(EXPERIMENTS, text.encode(), content_type=YAML)

    assert response.status_code == 201, response.json()
    experiment = Experiment.objects.get()
    assert (experiment.seeds, experiment.budget_images) == ([0, 1, 2], 1_000_000)
    assert factories.contenders_of(experiment)[1].config["beta"] == 4


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a: 1\na: 2", "line 2: 'a' is there already, in line 1"),
        ("a: [", "YAML parse error"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("name: " + "x" * 200_000, "at most 200,000 characters"),
        ("[" * 2000, "YAML parse error"),
        (f"a: &x [{'1, ' * 200}]\nb: [{'*x, ' * 150}]", "more than 20,000 values"),
    ],
)
def test_yaml_that_nothing_can_keep_is_refused(writer: APIClient, body: str, words: str) -> None:
    told = problem(writer.post(EXPERIMENTS, body, content_type=YAML), 400)

    assert words in told["detail"]


def test_the_same_key_makes_one_and_answers_the_same(writer: APIClient, protocol: Protocol) -> None:
    data, key = submission(protocol), {"Idempotency-Key": "one-7"}

    first = writer.post(EXPERIMENTS, data, headers=key)
    second = writer.post(EXPERIMENTS, data, headers=key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second["Location"] == first["Location"]
    assert ("Idempotent-Replayed" in first, second["Idempotent-Replayed"]) == (False, "true")
    assert Experiment.objects.count() == 1


def test_another_body_under_the_same_key_is_refused(writer: APIClient, protocol: Protocol) -> None:
    key = {"Idempotency-Key": "one-7"}
    writer.post(EXPERIMENTS, submission(protocol), headers=key)

    told = problem(writer.post(EXPERIMENTS, submission(protocol, name="other"), headers=key), 422)

    assert "another body" in told["detail"]
    assert Experiment.objects.count() == 1


def test_a_refusal_is_not_kept_under_its_key(writer: APIClient, protocol: Protocol) -> None:
    key = {"Idempotency-Key": "one-7"}

    assert writer.post(EXPERIMENTS, submission(protocol, seeds=0), headers=key).status_code == 400
    assert not Answer.objects.exists()
    assert writer.post(EXPERIMENTS, submission(protocol), headers=key).status_code == 201


def test_a_key_is_of_one_account_and_of_one_day(writer: APIClient, protocol: Protocol) -> None:
    key = {"Idempotency-Key": "one-7"}
    other = APIClient()
    other.force_authenticate(factories.make_user(role=Role.SUBMITTER))
    writer.post(EXPERIMENTS, submission(protocol, name="first"), headers=key)

    assert other.post(EXPERIMENTS, submission(protocol, name="b"), headers=key).status_code == 201
    Answer.objects.update(at=timezone.now() - timedelta(hours=25))
    assert writer.post(EXPERIMENTS, submission(protocol, name="c"), headers=key).status_code == 201
    assert Answer.objects.count() == 1


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
def test_what_is_no_key_is_refused(writer: APIClient, protocol: Protocol, key: str) -> None:
    response = writer.post(EXPERIMENTS, submission(protocol), headers={"Idempotency-Key": key})

    assert problem(response, 400)["errors"].keys() == {"Idempotency-Key"}
    assert not Experiment.objects.exists()


def test_nothing_is_kept_where_the_work_fails(
    writer: APIClient, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr("api.submissions.ExperimentViewSet.get_serializer", fail)
    with pytest.raises(RuntimeError):
        writer.post(EXPERIMENTS, submission(protocol), headers={"Idempotency-Key": "one-7"})

    assert not Answer.objects.exists() and not Experiment.objects.exists()


NAMES = ["a\x07b", "a\x1b[31mb", "a\u202eb", "a\u2066b", "a\u200fb", "a\nb", "a\u2028b", "a\x7fb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_looks_like_another_is_refused_by_rest_yaml_and_form(
    writer: APIClient, user: Any, protocol: Protocol, name: str
) -> None:
    labelled = [{"algorithm": "vae.conv", "label": name}]
    wrong = submission(protocol, name=name, entries=labelled)
    told = problem(writer.post(EXPERIMENTS, wrong), 400)["errors"]
    written = yaml.safe_dump(wrong)

    assert told.keys() == {"name", "entries.0.label"}
    assert all("control characters" in text and "U+" in text for text in told.values())
    in_yaml = problem(writer.post(EXPERIMENTS, written.encode(), content_type=YAML), 400)
    assert in_yaml["errors"] == told


def test_a_name_that_could_not_be_read_is_refused(writer: APIClient, protocol: Protocol) -> None:
    wrong = submission(protocol, name="caf\ufffd")

    told = problem(writer.post(EXPERIMENTS, wrong), 400)["errors"]

    assert told == {"name": "expected text that can be read, got U+FFFD after 3 characters"}


def test_the_command_refuses_such_a_name_too(
    protocol: Protocol, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(submission(protocol, name="a\u202eb")), "utf-8")

    with pytest.raises(SystemExit):
        call_command("submit", str(file))

    assert "U+202E after 1 characters" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["β = 4", "実験", "naïve 🎲", "a ‍b", "x²"])
def test_names_of_every_script_are_fine(writer: APIClient, protocol: Protocol, name: str) -> None:
    assert writer.post(EXPERIMENTS, submission(protocol, name=name)).status_code == 201


@pytest.fixture
def finished(db: None) -> Experiment:
    """Return an experiment that is finished: every job of it has an end."""
    experiment = factories.make_experiment(algorithms=["gan.sngan", "vae.conv"])
    protocol = experiment.protocols.get()
    for entry in experiment.entries.all():
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 1.0}])
    return experiment


def test_a_finished_experiment_is_deleted_with_all_that_is_its(
    writer: APIClient, user: Any, finished: Experiment
) -> None:
    kept = factories.make_evaluation()
    of_it = JobEvent.objects.exclude(pk__in=kept.events).count()
    board = f"/api/v1/leaderboards/{finished.protocols.get().fingerprint}/"
    assert of_it and len(writer.get(board).json()["rows"]) > 0

    response = writer.delete(f"{EXPERIMENTS}{finished.pk}/")

    assert (response.status_code, response.content) == (204, b"")
    others = Entry.objects.filter(experiment=kept.sample_set.entry.experiment).count()
    assert Entry.objects.count() == others
    assert set(MetricValue.objects.values_list("evaluation", flat=True)) == {kept.pk}
    assert writer.get(board).json()["rows"] == []
    deed = AuditEvent.objects.get(action="deleted")
    assert (deed.actor, deed.object_name) == (user, finished.name)
    assert writer.get(f"{EXPERIMENTS}{finished.pk}/").status_code == 404


def test_what_is_still_worked_at_is_not_deleted(writer: APIClient, finished: Experiment) -> None:
    run = Run.objects.filter(entry__experiment=finished).first()
    assert run is not None
    Run.objects.filter(pk=run.pk).update(status=Status.QUEUED, finished_at=None)

    told = problem(writer.delete(f"{EXPERIMENTS}{finished.pk}/"), 409)

    assert told["detail"] == "1 of its jobs are not finished, expected it to be cancelled first"
    assert SampleSet.objects.filter(entry__experiment=finished).exists()
    Run.objects.filter(pk=run.pk).update(status=Status.CANCELLED, finished_at=timezone.now())
    assert writer.delete(f"{EXPERIMENTS}{finished.pk}/").status_code == 204


def test_an_autoencoder_that_another_takes_is_not_deleted(
    writer: APIClient, finished: Experiment
) -> None:
    run = Run.objects.filter(entry__experiment=finished).first()
    assert run is not None
    taker = factories.contenders_of(factories.make_experiment())[0]
    Entry.objects.filter(pk=taker.pk).update(
        config={**taker.config, "autoencoder": f"runs/{run.pk}/ckpt-100"}
    )

    told = problem(writer.delete(f"{EXPERIMENTS}{finished.pk}/"), 409)

    assert f"is that of {taker.label}" in told["detail"]


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (Role.SUBMITTER, 403)])
def test_only_who_submitted_it_and_admins_delete(
    finished: Experiment, role: Role, status: int
) -> None:
    other = APIClient()
    other.force_authenticate(factories.make_user(role=role))

    assert problem(other.delete(f"{EXPERIMENTS}{finished.pk}/"), status)
    assert problem(APIClient().delete(f"{EXPERIMENTS}{finished.pk}/"), 401)
    assert Experiment.objects.filter(pk=finished.pk).exists()


def test_one_deletes_what_one_submitted(db: None) -> None:
    user = factories.make_user(role=Role.SUBMITTER)
    experiment = factories.make_experiment(user=user)
    services.cancel_experiment(experiment, user=user)
    client = APIClient()
    client.force_authenticate(user)

    assert client.delete(f"{EXPERIMENTS}{experiment.pk}/").status_code == 204


@pytest.mark.parametrize("kind", ["runs", "samplesets", "evaluations", "entries"])
def test_parts_of_an_experiment_are_never_deleted_alone(
    writer: APIClient, finished: Experiment, kind: str
) -> None:
    key = writer.get(f"/api/v1/{kind}/").json()["results"][0]["id"]

    assert problem(writer.delete(f"/api/v1/{kind}/{key}/"), 405)


def test_the_jobs_of_one_entry_are_cancelled_and_retried(writer: APIClient) -> None:
    experiment = factories.make_experiment(algorithms=["gan.sngan", "vae.conv"], seeds=[0, 1])
    one, other = factories.contenders_of(experiment)

    cancelled = writer.post(f"/api/v1/entries/{one.pk}/cancel/").json()
    again = writer.post(f"/api/v1/entries/{one.pk}/cancel/").json()

    assert (cancelled, again) == ({"jobs": 2}, {"jobs": 0})
    assert set(one.runs.values_list("status", flat=True)) == {"cancelled"}
    assert set(other.runs.values_list("status", flat=True)) == {"queued"}
    assert writer.post(f"/api/v1/entries/{one.pk}/retry/").json() == {"jobs": 2}
    assert set(one.runs.values_list("status", flat=True)) == {"queued"}


def test_only_who_submitted_it_and_admins_cancel_an_entry(db: None) -> None:
    entry = factories.contenders_of(factories.make_experiment())[0]
    other = APIClient()
    other.force_authenticate(factories.make_user(role=Role.SUBMITTER))

    for action in ("cancel", "retry"):
        assert problem(other.post(f"/api/v1/entries/{entry.pk}/{action}/"), 403)
    assert entry.runs.get().status == "queued"
