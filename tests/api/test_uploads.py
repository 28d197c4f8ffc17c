"""The server's side of tus: pieces, offsets, bounds, who may, and what is refused."""

import base64
import fcntl
import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from experiments.models import Intake, Upload
from experiments.uploads import files
from tests import factories

pytestmark = pytest.mark.django_db
TUS: dict[str, Any] = {"HTTP_TUS_RESUMABLE": "1.0.0"}
CONTENT = bytes(range(256)) * 20


def metadata(**said: str) -> str:
    pairs = (f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in said.items())
    return ",".join(pairs)


def begin(client: Any, *, name: str = "s.npz", length: object = len(CONTENT), **more: Any) -> Any:
    headers = {"HTTP_UPLOAD_LENGTH": str(length), "HTTP_UPLOAD_METADATA": metadata(filename=name)}
    return client.generic("POST", "/api/uploads/", b"", **TUS, **headers, **more)


def begun(client: Any, **options: Any) -> str:
    answer = begin(client, **options)
    assert answer.status_code == 201, answer.content
    return str(answer["Location"])


def send(client: Any, url: str, content: bytes, *, at: object = 0, **more: Any) -> Any:
    kind = more.pop("content_type", "application/offset+octet-stream")
    headers = {"HTTP_UPLOAD_OFFSET": str(at), **TUS, **more}
    return client.generic("PATCH", url, content, content_type=kind, **headers)


def offset(client: Any, url: str) -> int:
    return int(client.head(url, **TUS)["Upload-Offset"])


def client_of(role: Role = Role.SUBMITTER) -> APIClient:
    _, token = AuthToken.objects.create(factories.make_user(role=role))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


@pytest.fixture
def client() -> APIClient:
    return client_of()


def test_pieces_are_joined_in_their_order(client: APIClient) -> None:
    url = begun(client)
    assert (offset(client, url), client.head(url, **TUS)["Upload-Length"]) == (0, "5120")

    first = send(client, url, CONTENT[:3000])
    second = send(client, url, CONTENT[3000:], at=3000)

    assert [(each.status_code, each["Upload-Offset"]) for each in (first, second)] == [
        (204, "3000"),
        (204, "5120"),
    ]
    upload = Upload.objects.get()
    assert upload.path.read_bytes() == CONTENT
    assert upload.is_whole
    assert upload.path.name == upload.pk.hex  # no name from outside is a path
    (told,) = client.get("/api/uploads/").json()["results"]
    assert (told["name"], told["offset"], told["length"]) == ("s.npz", 5120, 5120)


def test_what_is_spoken_is_said(client: APIClient, settings: Settings) -> None:
    settings.UPLOAD_GB = 3

    answer = APIClient().options("/api/uploads/")

    assert answer.status_code == 204
    assert answer["Tus-Extension"] == "creation,termination,expiration,checksum"
    assert (answer["Tus-Version"], answer["Tus-Max-Size"]) == ("1.0.0", "3000000000")
    assert "sha1" in answer["Tus-Checksum-Algorithm"].split(",")  # which the protocol asks for
    assert "Upload-Expires" in begin(client)


@pytest.mark.parametrize("at", [0, 99, 101, 5119])
def test_a_piece_from_elsewhere_is_refused(client: APIClient, at: int) -> None:
    url = begun(client)
    send(client, url, CONTENT[:100])

    answer = send(client, url, b"x", at=at)

    assert (answer.status_code, offset(client, url)) == (409, 100)
    assert "100 bytes are here" in answer.json()["detail"]


def test_more_than_was_announced_is_refused(client: APIClient) -> None:
    url = begun(client, length=100)

    answer = send(client, url, CONTENT)

    assert (answer.status_code, offset(client, url)) == (413, 0)


def test_two_writers_are_kept_apart(client: APIClient) -> None:
    url = begun(client)
    send(client, url, CONTENT[:100])

    with Upload.objects.get().path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answers = [send(client, url, CONTENT[100:], at=100), client.delete(url, **TUS)]

    assert [answer.status_code for answer in answers] == [423, 423]
    assert "somebody else is writing" in answers[0].json()["detail"]
    assert offset(client, url) == 100
    assert send(client, url, CONTENT[100:], at=100).status_code == 204


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_a_piece_that_does_not_add_up_leaves_nothing(client: APIClient, algorithm: str) -> None:
    url = begun(client)
    send(client, url, CONTENT[:100])
    digest = hashlib.new(algorithm, CONTENT[100:]).digest()  # the protocol's
    right = {"HTTP_UPLOAD_CHECKSUM": f"{algorithm} {base64.b64encode(digest).decode()}"}

    damaged = send(client, url, CONTENT[101:] + b"x", at=100, **right)
    assert (damaged.status_code, offset(client, url)) == (460, 100)
    assert send(client, url, CONTENT[100:], at=100, **right).status_code == 204
    assert Upload.objects.get().path.read_bytes() == CONTENT


def test_an_upload_is_removed_with_its_file(client: APIClient) -> None:
    url = begun(client)
    send(client, url, CONTENT[:100])
    path = Upload.objects.get().path

    assert client.delete(url, **TUS).status_code == 204

    assert (path.exists(), Upload.objects.exists()) == (False, False)
    assert client.head(url, **TUS).status_code == 404
    assert send(client, url, CONTENT, at=0).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_TUS_RESUMABLE": "0.2"}, 412),
        ({"HTTP_UPLOAD_OFFSET": "x"}, 400),
        ({"HTTP_UPLOAD_OFFSET": "-1"}, 400),
        ({"HTTP_UPLOAD_OFFSET": "9" * 30}, 400),
        ({"content_type": "application/octet-stream"}, 415),
        ({"HTTP_UPLOAD_CHECKSUM": "crc32 AAAA"}, 400),
        ({"HTTP_UPLOAD_CHECKSUM": "sha1"}, 400),
    ],
)
def test_what_is_no_piece_is_refused(
    client: APIClient, headers: dict[str, str], status: int
) -> None:
    url = begun(client)

    answer = send(client, url, CONTENT, **headers)

    assert (answer.status_code, offset(client, url)) == (status, 0)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "length", "status"),
    [
        ("s.exe", 1, 400),
        ("../s.zip", 1, 400),
        ("a\\s.zip", 1, 400),
        ("a\0.zip", 1, 400),
        ("\u202egnp.zip", 1, 400),
        (".zip", 1, 400),
        ("", 1, 400),
        ("x" * 100 + ".zip", 1, 400),
        ("s.zip", 0, 400),
        ("s.zip", "", 400),
        ("s.zip", -1, 400),
        ("s.zip", 10**9 + 1, 413),
    ],
)
def test_what_is_no_file_is_refused(
    client: APIClient, settings: Settings, name: str, length: object, status: int
) -> None:
    settings.UPLOAD_GB = 1

    answer = begin(client, name=name, length=length)

    assert answer.status_code == status
    assert not Upload.objects.exists()


def test_metadata_that_is_no_base64_is_refused(client: APIClient) -> None:
    headers: dict[str, Any] = {"HTTP_UPLOAD_LENGTH": "1", "HTTP_UPLOAD_METADATA": "filename %%%"}

    assert client.generic("POST", "/api/uploads/", **TUS, **headers).status_code == 400


def test_an_account_has_so_much_on_its_way_and_no_more(
    client: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UPLOAD_GB = 1
    begun(client, length=6 * 10**8)

    too_much = begin(client, length=5 * 10**8)
    monkeypatch.setattr(files, "MOST_UPLOADS", 2)
    begun(client, length=10)
    too_many = begin(client, length=10)

    assert (too_much.status_code, too_many.status_code) == (413, 403)
    assert "600,000,000 of them taken" in too_much.json()["detail"]
    begun(client_of(), length=10)  # others have their own
    settings.UPLOAD_GB = 0
    assert begin(client_of(), length=1).status_code == 403


def test_what_nobody_goes_on_with_is_deleted(client: APIClient, settings: Settings) -> None:
    old, busy, waiting = (Upload.objects.get(pk=begun(client).split("/")[-2]) for _ in range(3))
    before = timezone.now() - timedelta(hours=settings.UPLOAD_HOURS, minutes=1)
    Upload.objects.update(created_at=before)
    old.path.parent.mkdir()
    old.path.write_bytes(b"x")
    os.utime(old.path, (before.timestamp(),) * 2)
    busy.path.write_bytes(b"x")
    user = User.objects.get(pk=waiting.owner_id)
    waiting.intake = Intake.objects.create(kind=Intake.Kind.SAMPLES, created_by=user)
    waiting.save()

    begun(client)

    left = set(Upload.objects.values_list("pk", flat=True))
    assert (old.pk in left, busy.pk in left, waiting.pk in left) == (False, True, True)
    assert (old.path.exists(), busy.path.exists()) == (False, True)
    assert client.delete(f"/api/uploads/{waiting.pk}/", **TUS).status_code == 409


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_others_upload_nothing(role: Role | None) -> None:
    client = client_of(role) if role else APIClient()

    assert begin(client).status_code == (403 if role else 401)
    assert not Upload.objects.exists()


def test_an_upload_is_its_owners_and_admins(client: APIClient) -> None:
    url = begun(client)
    other, admin = client_of(), client_of(Role.ADMIN)

    assert [send(other, url, b"x").status_code, other.delete(url, **TUS).status_code] == [403, 403]
    assert (other.head(url, **TUS).status_code, other.get(url).status_code) == (403, 403)
    assert other.get("/api/uploads/").json() == {"results": []}
    assert admin.get(url).json()["offset"] == 0


def test_a_browser_needs_its_csrf_token(client: APIClient) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(factories.make_user())
    browser.get("/login/")
    token = {"HTTP_X_CSRFTOKEN": browser.cookies["csrftoken"].value}

    assert begin(browser).status_code == 403
    url = begun(browser, **token)
    assert send(browser, url, CONTENT).status_code == 403
    assert send(browser, url, CONTENT, **token).status_code == 204


def test_bodies_are_as_large_as_uploads_are_and_elsewhere_as_forms_are(client: APIClient) -> None:
    content: Any = bytes(3_000_000)
    url = begun(client, length=len(content))

    assert send(client, url, content).status_code == 204
    assert offset(client, url) == 3_000_000
    assert client.generic("POST", "/api/questions/", content).status_code == 413


def test_a_full_disk_is_said(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    url = begun(client)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = send(client, url, CONTENT)

    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
