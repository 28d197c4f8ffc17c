"""Who may open what: every address of the site, walked as each kind of account."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from knox.models import AuthToken
from pytest_django.fixtures import Settings

from accounts.models import AuditEvent, Role, User
from catalog import stored
from catalog.models import StoredFile
from experiments.models import Experiment, Run, Upload
from jobs.models import Status, Worker
from notifications import outbox, receivers
from notifications.models import Delivery, Webhook
from tests import factories
from tests.static import static_root

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db

STRANGER, VIEWER, OTHER, OWNER, ADMIN = ACTORS = ("stranger", "viewer", "other", "owner", "admin")
EVERYBODY = frozenset(ACTORS)
ACCOUNTS = EVERYBODY - {STRANGER}
SUBMITTERS = frozenset({OTHER, OWNER, ADMIN})
WHOSE_IT_IS = frozenset({OWNER, ADMIN})
ADMINS = frozenset({ADMIN})
NOBODY: frozenset[str] = frozenset()

READ = {
    *("home", "activity", "experiments", "experiment", "experiment-region", "run", "run-region"),
    *("experiment-prompts", "question", "question-region", "answer-sheet"),
    *("run-process", "viewing", "viewing-region", "viewing-sheet"),
    *("api:viewing-list", "api:viewing-detail", "api:viewing-sheet"),
    *("api:question-list", "api:question-detail", "api:question-sheet"),
    "api:leaderboard-guidance",
    *("entry-losses", "run-losses", "sample-grid", "checkpoint-preview", "leaderboards"),
    *("sample-sheet", "nearest-images", "picture"),
    "same-budget",
    *("leaderboard", "datasets", "dataset", "protocols", "protocol", "workers", "judging"),
    *("help", "help-page", "help-file", "claims", "glossary", "term", "advice"),
    *("api:claims", "api:advice", "run-bundle", "api:run-bundle"),
    *("api:schema", "api:docs", "api:api-root", "api:experiment-spec", "api:run-checkpoints"),
    *("api:experiment-searches", "api:leaderboard-budgets"),
    *(f"api:{job}-outlook" for job in ("run", "sampleset", "evaluation")),
    *("api:worker-list", "api:worker-detail", "api:event-list", "api:queue-list"),
    *("api:promptset-list", "api:promptset-detail", "api:promptset-template"),
    *("api:entry-list", "api:entry-detail"),
    *(f"api:{name}-list" for name in ("dataset", "protocol", "experiment", "leaderboard")),
    *(f"api:{name}-detail" for name in ("dataset", "protocol", "experiment", "leaderboard")),
    *("api:protocol-compare", "compare", "api:compare-list", "api:compare-curves", "api:loss-list"),
    *(f"api:{job}-{what}" for job in ("run", "sampleset", "evaluation") for what in ("list",)),
    *(f"api:{job}-{what}" for job in ("run", "sampleset", "evaluation") for what in ("detail",)),
    *(f"api:{job}-{what}" for job in ("run", "sampleset", "evaluation") for what in ("events",)),
    *("api:run-losses", "api:sampleset-file", "api:sampleset-grid"),
}
# Django's own forms ask for name and password; probes show nothing but that the site is up, and
# the colours of families belong to every page.
OPEN = {"login", "logout", "admin:login", "admin:logout", "health", "healthz", "readyz", "families"}
ACT = {
    *("cancel-experiment", "retry-experiment", "tag-experiment", "cancel-job", "retry-job"),
    *(f"api:{name}-cancel" for name in ("experiment", "run", "sampleset", "evaluation")),
    "api:viewing-cancel",
    *("api:question-cancel", "api:entry-cancel", "api:entry-retry", "api:experiment-entries"),
    *(f"api:{name}-retry" for name in ("experiment", "run", "sampleset", "evaluation")),
}
BODIES = {
    "api:experiment-entries": {"pipeline": "us/tiny", "revision": "0" * 40}
}  # of what is sent
ENTRY = ["api:entry-detail", "api:entry-cancel", "api:entry-retry"]
PAUSES = {"pause", "resume", "remove-worker"}
SUBMIT = {
    *("submit-experiment", "check-experiment"),
    *("submit-samples", "submit-dataset", "submit-protocol", "api:uploads"),
}
SUBMIT_ACT = {"check-experiment"}
OWN = {
    *("intake", "intake-region", "intake-picture", "api:upload", "job-log"),
    *("api:run-log", "api:sampleset-log", "api:evaluation-log"),
}
ACCOUNT = {  # each account's own; a viewer is told nothing
    *("account", "api:preference"),
    *(f"api:{name}-list" for name in ("webhook", "delivery", "watch")),
    *("prefer", "add-webhook", "watch-experiment", "make-token", "end-token"),
}
ACCOUNT_ACT = {"prefer", "watch-experiment", "add-webhook", "make-token", "end-token"}
OWNER_ALONE = {
    *(f"api:{name}-detail" for name in ("webhook", "delivery", "watch")),
    *("api:webhook-renew", "renew-webhook"),
    *("api:webhook-test", "test-webhook"),
}
OWNER_ACT = {"renew-webhook", "test-webhook", "api:webhook-renew", "api:webhook-test"}
CHANGE_OWN = {"remove-upload", "confirm-intake", "discard-intake"}
IN_ADMIN = {
    *("admin:index", "admin:search", "admin:password_change", "admin:password_change_done"),
    *("admin:jsi18n", "admin:app_list", "admin:view_on_site"),
}
SHOWN_TO_SUBMITTERS = {
    *(f"experiments_{name}" for name in ("experiment", "run", "sampleset", "evaluation")),
    *("experiments_question", "experiments_viewing"),
    *("catalog_dataset", "catalog_promptset", "catalog_protocol", "catalog_storedfile"),
    "jobs_worker",
}


def who_may(name: str) -> frozenset[str]:
    """Return which actors may open an address. What is not written here fails the test."""
    if name in READ | OPEN:
        return EVERYBODY
    if name in OWNER_ALONE:
        return frozenset({OWNER})
    if name in SUBMIT | ACCOUNT:
        return SUBMITTERS
    if name in ACT | OWN | CHANGE_OWN:
        return WHOSE_IT_IS
    if name in IN_ADMIN or name == "admin:experiments_experiment_add":
        return SUBMITTERS
    if name in PAUSES or name in {"metrics", "api:audit-list", "admin:auth_user_password_change"}:
        return ADMINS
    model, _, page = name.removeprefix("admin:").rpartition("_")
    if page in {"changelist", "change", "history"}:
        return SUBMITTERS if model in SHOWN_TO_SUBMITTERS else ADMINS
    if page in {"add", "delete"}:
        return ADMINS if model in MADE_IN_ADMIN[page] else NOBODY
    raise AssertionError(f"{name}: the matrix does not say who may open it")


MADE_IN_ADMIN = {
    "add": {"accounts_user"},
    "delete": {
        "accounts_user",
        "knox_authtoken",
        "catalog_dataset",
        "catalog_protocol",
        "notifications_webhook",
        "notifications_delivery",
    },
}
# Asked with what only the admin's own widgets send; gone for the next who asks.
NOT_WALKED = {"admin:autocomplete", "remove-webhook"}


def names(patterns: list[Any], space: str = "") -> Iterator[str]:
    """Yield the name of every address; those without one lead on to others of these."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else space
            yield from names(pattern.url_patterns, inner)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield space + pattern.name


NAMES = sorted(set(names(get_resolver().url_patterns)) - NOT_WALKED)
ROOMS = sorted({name.rpartition(":")[0] for name in NAMES})


class Scene:
    """A comparison of the owner with one of everything."""

    def __init__(self) -> None:
        roles = {VIEWER: Role.VIEWER, OTHER: Role.SUBMITTER, OWNER: Role.SUBMITTER}
        self.users: dict[str, User] = {
            actor: factories.make_user(role=roles.get(actor, Role.ADMIN))
            for actor in ACTORS
            if actor != STRANGER
        }
        self.experiment = factories.make_experiment(user=self.users[OWNER])
        self.run = Run.objects.get(entry__experiment=self.experiment)
        self.sample_set = factories.make_sample_set(run=self.run, files=True)
        self.evaluation = factories.make_evaluation(sample_set=self.sample_set)
        self.reading = factories.make_reading(self.evaluation)
        for job in (self.run, self.sample_set, self.evaluation):
            factories.make_log(job)
        self.checkpoint = factories.make_checkpoint(run=self.run)
        self.checkpoint.preview = str(self.sample_set.grid_path.relative_to(settings.DATA_DIR))
        self.checkpoint.save()
        self.protocol = self.experiment.protocols.get()
        self.dataset = self.experiment.dataset
        self.prompts = factories.make_prompts()
        self.asked = factories.make_asked_experiment()
        self.question = factories.make_question(user=self.users[OWNER], status=Status.COMPLETED)
        self.viewing = factories.make_viewing(user=self.users[OWNER], status=Status.COMPLETED)
        self.upload = factories.make_upload(owner=self.users[OWNER])
        # One that a worker is about to read: nobody can take it from those who come later.
        self.intake = factories.make_intake(user=self.users[OWNER], status=Status.QUEUED)
        Upload.objects.filter(pk=self.upload.pk).update(intake=self.intake)
        stored.keep(self.sample_set.path, StoredFile.Kind.SAMPLES)
        self.file = StoredFile.objects.get()
        self.worker = factories.make_worker()
        self.gone = factories.make_worker(alive=False)
        self.token, _ = AuthToken.objects.create(self.users[OWNER])
        self.webhook = Webhook.objects.create(user=self.users[OWNER], url="https://example.org/")
        self.watch = receivers.watch(self.users[OWNER], self.experiment, wanted=True)
        outbox.tell_test(self.webhook)
        self.delivery = Delivery.objects.get()
        self.audit = AuditEvent.objects.create(
            actor_name="ada", action="submitted", kind="experiment", object_name="first"
        )

    def address(self, name: str) -> str:
        return reverse(name, kwargs=self._arguments(name))

    def _arguments(self, name: str) -> dict[str, Any]:
        rows: dict[str, Any] = {
            "user": self.users[OWNER],
            "authtoken": self.token,
            "auditevent": self.audit,
            "dataset": self.dataset,
            "promptset": self.prompts,
            "protocol": self.protocol,
            "storedfile": self.file,
            "worker": self.worker,
            "experiment": self.experiment,
            "run": self.run,
            "sampleset": self.sample_set,
            "evaluation": self.evaluation,
            "question": self.question,
            "viewing": self.viewing,
            "intake": self.intake,
            "webhook": self.webhook,
            "delivery": self.delivery,
            "watch": self.watch,
        }
        of_name: dict[str, dict[str, Any]] = {
            "viewing-sheet": {"pk": self.viewing.pk},
            "answer-sheet": {"pk": self.question.pk},
            "api:leaderboard-guidance": {
                "fingerprint": self.question.experiment.protocols.get().fingerprint
            },
            **{f"{act}-experiment": {"pk": self.experiment.pk} for act in ("watch", "tag")},
            **{f"{act}-webhook": {"pk": self.webhook.pk} for act in ("test", "renew")},
            "help-page": {"name": "data"},
            "help-file": {"name": "mnist-tiny.yaml"},
            "term": {"key": "gan"},
            "remove-upload": {"pk": self.upload.pk},
            "api:upload": {"pk": self.upload.pk},
            "confirm-intake": {"pk": self.intake.pk},
            "discard-intake": {"pk": self.intake.pk},
            "sample-grid": {"pk": self.sample_set.pk},
            "nearest-images": {"pk": self.reading.pk},
            "sample-sheet": {"pk": self.sample_set.pk, "number": 0},
            "picture": {"name": "sample-grid", "pk": self.sample_set.pk},
            "remove-worker": {"pk": self.gone.pk},
            "checkpoint-preview": {"pk": self.checkpoint.pk},
            "entry-losses": {"pk": self.run.entry_id},
            "cancel-job": {"kind": "run", "pk": self.run.pk},
            "retry-job": {"kind": "run", "pk": self.run.pk},
            "job-log": {"kind": "run", "pk": self.run.pk},
            "experiment-region": {"pk": self.experiment.pk, "name": "standing"},
            "run-region": {"pk": self.run.pk, "name": "status"},
            "experiment-prompts": {"pk": self.asked.pk},
            "dataset": {"slug": self.dataset.slug},
            "api:dataset-detail": {"slug": self.dataset.slug},
            "api:promptset-detail": {"slug": self.prompts.slug},
            "api:promptset-template": {"slug": self.prompts.slug},
            **{name: {"pk": self.run.entry_id} for name in ENTRY},
            "api:protocol-compare": {
                "fingerprint": self.protocol.fingerprint,
                "other": self.protocol.fingerprint,
            },
            "admin:app_list": {"app_label": "experiments"},
            "admin:auth_user_password_change": {"id": self.users[OTHER].pk},
        }
        if name in of_name:
            return of_name[name]
        if name in {
            "protocol",
            "leaderboard",
            "same-budget",
            "api:leaderboard-budgets",
        } or name.endswith(("protocol-detail", "board-detail")):
            return {"fingerprint": self.protocol.fingerprint}
        if name == "admin:view_on_site":
            content_type = ContentType.objects.get_for_model(Experiment)
            return {"content_type_id": content_type.pk, "object_id": self.experiment.pk}
        if name in IN_ADMIN:
            return {}
        if name.startswith("admin:") and name.endswith(("_change", "_history", "_delete")):
            return {"object_id": rows[name.split("_")[-2]].pk}
        kind = name.removeprefix("api:").removeprefix("cancel-").removeprefix("retry-")
        row = rows.get(kind.split("-")[0])
        return {"pk": row.pk} if row is not None and not name.endswith("-list") else {}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def closed(settings: Settings) -> None:
    settings.PUBLIC_READ = False


def ask(scene: Scene, actor: str, name: str) -> HttpResponseBase:
    """Open the address as the actor: by POST where it changes something."""
    client = Client()
    if actor != STRANGER:
        client.force_login(scene.users[actor])
    acting = ACT | PAUSES | CHANGE_OWN | SUBMIT_ACT | ACCOUNT_ACT | OWNER_ACT
    changes = name in acting or name.endswith("logout")
    form: dict[str, Any] = {"url": "https://8.8.8.8/"} if name == "add-webhook" else {}
    if name.removeprefix("api:").startswith("compare"):
        form = {"entries": [entry.pk for entry in scene.experiment.entries.all()[:2]]}
    if name == "api:advice":
        form = {"dataset": scene.dataset.slug}
    address, body = scene.address(name), {**BODIES.get(name, {}), "label": actor}
    if name in BODIES:
        response = client.post(address, body, content_type="application/json")
    else:
        response = (client.post if changes else client.get)(address, form)
    response.close()
    return response


def is_refused(response: HttpResponseBase) -> bool:
    """Return whether the site said no: 401, 403, or an invitation to sign in."""
    to_login = response.status_code == 302 and "/login/?next=" in response["Location"]
    return to_login or response.status_code in (401, 403)


def allowed_in(scene: Scene, name: str) -> set[str]:
    """Return who is let in where, and take back what they changed there."""
    allowed = set()
    awake = Worker.objects.exclude(pk=scene.gone.pk)
    awake.update(last_seen=timezone.now())  # the walk takes longer than its patience
    with transaction.atomic():
        for actor in ACTORS:
            response = ask(scene, actor, name)
            if not is_refused(response):
                # 409: this actor may, but an earlier one has done it
                assert response.status_code < 400 or response.status_code == 409, (name, actor)
                allowed.add(actor)
        transaction.set_rollback(True)
    return allowed


@pytest.mark.parametrize("room", ROOMS)
def test_an_address_opens_for_those_and_only_those_who_may(scene: Scene, room: str) -> None:
    names = [name for name in NAMES if name.rpartition(":")[0] == room]
    names.sort(key=CHANGE_OWN.__contains__)  # files are not brought back

    allowed = {name: allowed_in(scene, name) for name in names}

    assert allowed == {name: who_may(name) for name in names}


def test_a_closed_site_shows_strangers_nothing(scene: Scene, closed: None) -> None:
    names = sorted(READ & set(NAMES))

    shown = [name for name in names if not is_refused(ask(scene, STRANGER, name))]
    hidden = [name for name in names if is_refused(ask(scene, VIEWER, name))]

    assert (shown, hidden) == ([], [])


@pytest.mark.parametrize(("actor", "status"), [(STRANGER, 401), (VIEWER, 403), (OTHER, 201)])
def test_only_submitters_submit(scene: Scene, actor: str, status: int) -> None:
    client = Client()
    if actor != STRANGER:
        client.force_login(scene.users[actor])
    data = factories.experiment_data(protocol=scene.protocol, name=f"of {actor}")

    response = client.post("/api/experiments/", data, content_type="application/json")

    assert response.status_code == status
    assert Experiment.objects.filter(name=f"of {actor}").exists() == (status == 201)


def test_a_refusal_changes_nothing_and_says_who_may(scene: Scene) -> None:
    client = Client()
    client.force_login(scene.users[OTHER])
    before = scene.run.status

    page = client.post(scene.address("cancel-job"))
    rest = client.post(scene.address("api:run-cancel"))

    scene.run.refresh_from_db()
    assert scene.run.status == before != Status.CANCELLED
    assert "only who submitted it" in rest.json()["detail"]
    assert "Only who submitted it" in page.content.decode()


def test_an_account_that_was_made_inactive_may_nothing() -> None:
    user = factories.make_user(role=Role.ADMIN)
    client = Client()
    client.force_login(user)
    User.objects.filter(pk=user.pk).update(is_active=False)

    assert client.get("/admin/").status_code == 302
    assert client.post("/api/experiments/", {}, content_type="application/json").status_code == 401


def test_the_role_alone_decides_what_django_thinks_of_an_account() -> None:
    user = factories.make_user(role=Role.ADMIN)

    user.role = Role.VIEWER
    user.save()

    assert (user.is_superuser, user.is_staff) == (False, False)
    assert User.objects.create_superuser("root").role == Role.ADMIN
