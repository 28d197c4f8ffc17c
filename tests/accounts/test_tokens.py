"""API tokens: made once, shown once, ended in the admin."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from knox.models import AuthToken
from rest_framework.test import APIClient

from accounts.models import AuditEvent, Role
from accounts.tokens import MOST_TOKENS
from tests import factories

pytestmark = pytest.mark.django_db


def make_token(username: str, **options: int) -> str:
    out = StringIO()
    call_command("api_token", username, stdout=out, stderr=StringIO(), **options)
    return out.getvalue().strip()


def is_accepted(token: str) -> bool:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return bool(client.get("/api/runs/").status_code == 200)


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(factories.make_user(role=Role.ADMIN))
    return client


def test_the_printed_token_lets_its_user_write() -> None:
    user = factories.make_user(username="ada", role=Role.ADMIN)
    run = factories.make_run()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {make_token('ada')}")

    response = client.post(f"/api/runs/{run.pk}/cancel/")

    assert response.status_code == 200
    assert AuthToken.objects.get().user == user


def test_a_submitter_makes_and_ends_a_token_on_the_page_of_the_account(client: Client) -> None:
    ada, other = factories.make_user(username="ada"), factories.make_user()
    client.force_login(ada)
    theirs, _ = AuthToken.objects.create(other)

    page = client.post("/account/tokens/")
    kept = AuthToken.objects.get(user=ada)
    (token,) = set(re.findall(rf"{kept.token_key}[0-9a-f]{{40,}}", page.content.decode()))

    assert page["Cache-Control"].startswith("max-age=0") and is_accepted(token)
    again = client.get("/account/").content.decode()
    assert kept.token_key in again and token not in again
    assert theirs.token_key not in again
    client.post("/account/tokens/end/", {"key": theirs.token_key})
    client.post("/account/tokens/end/", {"key": kept.token_key})
    assert not is_accepted(token)
    assert AuthToken.objects.get() == theirs
    deleted, added = AuditEvent.objects.all()
    assert [(each.action, each.actor) for each in (added, deleted)] == [
        ("added", ada),
        ("deleted", ada),
    ]


def test_an_account_makes_no_more_tokens_than_it_can_look_after(client: Client) -> None:
    ada = factories.make_user()
    client.force_login(ada)
    for _ in range(MOST_TOKENS):
        AuthToken.objects.create(ada)

    refused = client.post("/account/tokens/", follow=True)

    assert "end one first" in refused.content.decode()
    assert AuthToken.objects.count() == MOST_TOKENS


def test_a_token_ends_after_its_days() -> None:
    factories.make_user(username="ada")

    token = make_token("ada", days=1)
    forever = make_token("ada", days=0)

    assert is_accepted(token) and is_accepted(forever)
    AuthToken.objects.filter(expiry__isnull=False).update(expiry=timezone.now())
    assert not is_accepted(token) and is_accepted(forever)


def test_the_audit_trail_knows_of_tokens_but_not_what_they_are(admin: Client) -> None:
    user = factories.make_user(username="ada")
    token = make_token("ada", days=90)
    kept = AuthToken.objects.get()

    admin.post(f"/admin/knox/authtoken/{kept.pk}/delete/", {"post": "yes"})

    deleted, added = AuditEvent.objects.all()
    assert (added.action, added.actor_name, added.object_id) == (
        "added",
        "command line",
        str(user.pk),
    )
    assert added.detail.startswith(f"API token {kept.token_key}, ends 2")
    assert (deleted.action, deleted.detail) == ("deleted", f"API token {kept.token_key}")
    assert token not in added.detail + deleted.detail


@pytest.mark.parametrize("days", [-1, -90])
def test_a_token_does_not_end_before_it_is_made(days: int) -> None:
    factories.make_user(username="ada")

    with pytest.raises(CommandError) as refused:
        make_token("ada", days=days)

    assert str(refused.value) == f"expected --days of at least 0, got {days}"
    assert not AuthToken.objects.exists()


def test_only_the_hash_of_a_token_is_kept() -> None:
    factories.make_user(username="ada")

    token = make_token("ada")

    kept = AuthToken.objects.get()
    assert token not in (kept.digest, kept.token_key)
    assert len(kept.digest) == 128


def test_a_user_may_have_several_tokens() -> None:
    factories.make_user(username="ada")

    assert make_token("ada") != make_token("ada")
    assert AuthToken.objects.count() == 2


def test_a_token_needs_a_user() -> None:
    with pytest.raises(CommandError) as refused:
        make_token("nobody")

    assert str(refused.value) == "expected the name of a user, got 'nobody'"


def test_a_token_that_was_deleted_in_the_admin_opens_nothing() -> None:
    factories.make_user(username="ada")
    token = make_token("ada")
    admin = Client()
    admin.force_login(factories.make_user(role=Role.ADMIN))
    kept = AuthToken.objects.get()

    page = admin.get("/admin/knox/authtoken/")
    admin.post(f"/admin/knox/authtoken/{kept.pk}/delete/", {"post": "yes"})

    assert kept.token_key in page.content.decode()
    assert not is_accepted(token)


def test_tokens_are_not_made_in_the_admin_where_nobody_could_read_them() -> None:
    admin = Client()
    admin.force_login(factories.make_user(role=Role.ADMIN))

    assert admin.get("/admin/knox/authtoken/add/").status_code == 403
    assert "manage.py api_token USER" in admin.get("/admin/knox/authtoken/").content.decode()


def test_users_are_added_and_changed_in_the_admin() -> None:
    admin = Client()
    root = factories.make_user(role=Role.ADMIN)
    admin.force_login(root)

    for address in ("", "add/", f"{root.pk}/change/"):
        assert admin.get(f"/admin/accounts/user/{address}").status_code == 200
