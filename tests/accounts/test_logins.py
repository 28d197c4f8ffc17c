"""Signing in is tried a limited number of times, by name and by address, over all processes."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import devices, logins
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


# --- devices on which somebody has signed in before -----------------------------------------


def owner() -> Client:
    """Return a browser in which ada has signed in, and out again."""
    client = Client()
    client.post("/login/", {"username": "ada", "password": factories.PASSWORD})
    client.post("/logout/")
    return client


def again(client: Client, typed: str, *, name: str = "ada", form: str = "/login/") -> int:
    return client.post(form, {"username": name, "password": typed}).status_code


@pytest.mark.parametrize("form", FORMS)
def test_a_stranger_cannot_lock_the_owner_out_of_a_known_device(ada: User, form: str) -> None:
    known = owner()
    for _ in range(8):
        sign_in(form, typed="wrong")
    assert sign_in(form, typed=factories.PASSWORD).status_code == 429

    assert again(known, factories.PASSWORD, form=form) == 302
    assert sign_in(form, typed=factories.PASSWORD).status_code == 429  # no guess is given back


def test_a_known_device_has_its_own_limit(ada: User) -> None:
    known = owner()

    assert [again(known, "wrong") for _ in range(4)] == [200, 200, 200, 429]
    assert again(known, factories.PASSWORD) == 429
    assert sign_in(typed=factories.PASSWORD).status_code == 302  # and takes nobody else's


def test_the_right_password_forgets_the_wrong_ones_of_a_known_device(ada: User) -> None:
    known = owner()
    for _ in range(2):
        assert [again(known, "wrong") for _ in range(2)] == [200, 200]
        assert again(known, factories.PASSWORD) == 302


def test_a_device_is_known_for_the_names_that_signed_in_on_it_alone(ada: User) -> None:
    factories.make_user(username="grace")
    known = owner()
    for _ in range(3):
        sign_in(name="grace", typed="wrong")

    assert again(known, factories.PASSWORD, name="grace") == 429
    LoginAttempt.objects.all().delete()
    assert again(known, factories.PASSWORD, name="grace") == 302
    for name in ("ada", "grace"):
        for _ in range(3):
            sign_in(name=name, typed="wrong", REMOTE_ADDR=f"192.0.2.{len(name)}")

    assert again(known, factories.PASSWORD) == again(known, factories.PASSWORD, name="grace") == 302


def test_a_wrong_password_makes_no_device_known(ada: User) -> None:
    client = Client()

    again(client, "wrong")

    assert devices.COOKIE not in client.cookies


@pytest.mark.parametrize("change", ["forged", "of another site", "old"])
def test_a_cookie_that_is_not_the_sites_own_of_late_is_worth_nothing(
    ada: User, settings: Settings, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    known = owner()
    if change == "forged":
        known.cookies[devices.COOKIE] = "x" + known.cookies[devices.COOKIE].value
    elif change == "of another site":
        settings.SECRET_KEY = "another"  # noqa: S105  # of this test
    else:
        monkeypatch.setattr(devices, "KEPT_SECONDS", -1)
    for _ in range(3):
        sign_in(typed="wrong")

    assert again(known, factories.PASSWORD) == 429


def test_the_cookie_is_for_the_site_alone_and_names_nobody(ada: User) -> None:
    cookie = owner().cookies[devices.COOKIE]

    assert cookie["httponly"] and cookie["samesite"] == "Lax" and cookie["max-age"] > 0
    assert "ada" not in re.split(r"\W", cookie.value)


def test_a_device_keeps_few_names() -> None:
    device = devices.Device("a")
    for number in range(9):
        device = device.after(f"user {number}")

    assert device.knows("user 8") and device.knows("user 4") and not device.knows("user 3")
    assert len(device.after("user 8").cookie) < 400
