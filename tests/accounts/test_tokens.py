"""API tokens: made once, shown once, ended in the admin."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from knox.models import AuthToken
from rest_framework.test import APIClient

from tests import factories

pytestmark = pytest.mark.django_db


def make_token(username: str) -> str:
    out = StringIO()
    call_command("api_token", username, stdout=out)
    return out.getvalue().strip()


def test_the_printed_token_lets_its_user_write() -> None:
    user = factories.make_user(username="ada")
    run = factories.make_run()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {make_token('ada')}")

    response = client.post(f"/api/runs/{run.pk}/cancel/")

    assert response.status_code == 200
    assert AuthToken.objects.get().user == user


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
    admin.force_login(factories.make_user(superuser=True))
    kept = AuthToken.objects.get()

    page = admin.get("/admin/knox/authtoken/")
    admin.post(f"/admin/knox/authtoken/{kept.pk}/delete/", {"post": "yes"})

    assert kept.token_key in page.content.decode()
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    assert client.get("/api/runs/").status_code == 401


def test_tokens_are_not_made_in_the_admin_where_nobody_could_read_them() -> None:
    admin = Client()
    admin.force_login(factories.make_user(superuser=True))

    assert admin.get("/admin/knox/authtoken/add/").status_code == 403
    assert "manage.py api_token USER" in admin.get("/admin/knox/authtoken/").content.decode()


def test_users_are_added_and_changed_in_the_admin() -> None:
    admin = Client()
    root = factories.make_user(superuser=True)
    admin.force_login(root)

    for address in ("", "add/", f"{root.pk}/change/"):
        assert admin.get(f"/admin/accounts/user/{address}").status_code == 200
