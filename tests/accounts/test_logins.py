"""Signing in is tried a limited number of times, by name and by address, over all processes."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import logins
from accounts.models import LoginAttempt, Role, User
from tests import factories

pytestmark = pytest.mark.django_db
FORMS = ["/login/", "/admin/login/"]


@pytest.fixture(autouse=True)
def few(settings: Settings) -> None:
    settings.LOGIN_LIMIT = 3
    settings.LOGIN_LIMIT_ADDRESS = 5
    settings.LOGIN_WINDOW_SECONDS = 600


@pytest.fixture
def ada() -> User:
    return factories.make_user(username="ada", role=Role.ADMIN)


def sign_in(form: str = "/login/", *, name: str = "ada", typed: str = "", **headers: Any) -> Any:
    return Client().post(form, {"username": name, "password": typed}, **headers)


@pytest.mark.parametrize("form", FORMS)
def test_after_three_wrong_passwords_the_right_one_has_to_wait_too(ada: User, form: str) -> None:
    for _ in range(3):
        assert sign_in(form, typed="wrong").status_code == 200

    refused = sign_in(form, typed=factories.PASSWORD)

    assert refused.status_code == 429
    assert 590 <= int(refused["Retry-After"]) <= 600
    assert "Try again in 10 minutes" in refused.content.decode()


def test_the_forms_count_together_and_other_names_do_not_wait(ada: User) -> None:
    factories.make_user(username="grace")
    for form in (*FORMS, "/login/"):
        sign_in(form, typed="wrong")

    assert sign_in("/admin/login/", typed=factories.PASSWORD).status_code == 429
    assert sign_in(name="grace", typed=factories.PASSWORD).status_code == 302


def test_an_address_that_tries_many_names_has_to_wait(ada: User) -> None:
    for number in range(5):
        assert sign_in(name=f"guess-{number}", typed="wrong").status_code == 200

    assert sign_in(typed=factories.PASSWORD).status_code == 429
    assert sign_in(typed=factories.PASSWORD, REMOTE_ADDR="192.0.2.7").status_code == 302


def test_the_right_password_forgets_the_wrong_ones(ada: User) -> None:
    for _ in range(2):
        for _ in range(2):
            sign_in(typed="wrong")
        assert sign_in(typed=factories.PASSWORD).status_code == 302

    assert LoginAttempt.objects.count() == 0


def test_who_waited_may_try_again_however_often_he_asked_meanwhile(ada: User) -> None:
    for _ in range(8):
        sign_in(typed="wrong")
    assert LoginAttempt.objects.count() == 3  # a refused one does not count

    LoginAttempt.objects.update(at=timezone.now() - timedelta(seconds=601))

    assert sign_in(typed=factories.PASSWORD).status_code == 302


def test_what_was_typed_as_a_name_is_not_kept(ada: User) -> None:
    sign_in(name="my password by mistake", typed="x")

    (kept,) = LoginAttempt.objects.values_list("name_digest", "address")
    assert "password" not in "".join(kept)


@pytest.mark.parametrize(
    ("trusted", "expected"), [(False, "127.0.0.1"), (True, "198.51.100.4")], ids=["bare", "proxy"]
)
def test_an_address_is_the_proxys_word_only_where_it_is_trusted(
    ada: User, settings: Settings, trusted: bool, expected: str
) -> None:
    settings.TRUST_PROXY = trusted

    sign_in(typed="wrong", HTTP_X_FORWARDED_FOR="203.0.113.9, 198.51.100.4")

    assert LoginAttempt.objects.get().address == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("", "unknown"), ("<script>", "unknown")],
)
def test_one_household_is_one_address_and_nonsense_is_none(
    ada: User, text: str, expected: str
) -> None:
    sign_in(typed="wrong", REMOTE_ADDR=text)

    assert LoginAttempt.objects.get().address == expected


def test_attempts_at_once_count_before_any_password_was_looked_at() -> None:
    for _ in range(3):
        logins.begin("ada", "127.0.0.1")

    with pytest.raises(logins.TooManyLogins):
        logins.begin("ada", "192.0.2.7")
