"""The page of one's own account, the box on an experiment's, and the same over REST."""

import pytest
from django.test import Client
from knox.models import AuthToken
from rest_framework.test import APIClient

from accounts.models import Role, User
from experiments import services
from notifications import receivers, sending
from notifications.models import Delivery, Preference, Watch, Webhook
from tests import factories
from tests.notifications.receivers import Receiver, is_signed
from tests.web import html

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return factories.make_user()


@pytest.fixture
def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def script(user: User) -> APIClient:
    _, token = AuthToken.objects.create(user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_somebody_sets_up_a_webhook_and_sees_what_comes_of_its_messages(
    browser: Client, user: User, receiver: Receiver
) -> None:
    added = browser.post("/account/webhooks/", {"url": receiver.url})
    secret = html.read(added.content.decode()).one("pre").text
    hook = Webhook.objects.get(user=user)
    browser.post(f"/account/webhooks/{hook.pk}/test/")
    sending.send_due()
    page = browser.get("/account/")

    assert "no-store" in added["Cache-Control"]
    assert is_signed(receiver.calls[0], secret)
    (row,) = html.read(page.content.decode()).one("tbody").all("tr")
    assert [cell.text for cell in row.all("td")][2:6] == ["127.0.0.1", "delivered", "1", "204"]
    assert secret not in page.content.decode()
    browser.post(f"/account/webhooks/{hook.pk}/remove/")
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.1/", "10.0.0.1, which is not of the public internet"),
        ("ftp://x", "Expected an address such as https://example.org/hook"),
        ("", "Expected an address such as"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_at_the_field(
    browser: Client, script: APIClient, url: str, said: str
) -> None:
    page = browser.post("/account/webhooks/", {"url": url})
    answer = script.post("/api/v1/webhooks/", {"url": url})

    assert page.status_code == answer.status_code == 400
    assert said in html.read(page.content.decode()).one("p", class_name="ask-error").text
    assert said.lower() in answer.json()["errors"]["url"].lower()


def test_the_same_address_and_one_too_many_are_refused(user: User) -> None:
    for number in range(receivers.MOST_WEBHOOKS):
        receivers.add_webhook(user, f"https://8.8.8.8/{number}")

    with pytest.raises(receivers.WishRefused, match="at most 10 webhooks"):
        receivers.add_webhook(user, "https://8.8.8.8/another")
    user.webhooks.all()[0].delete()
    with pytest.raises(receivers.WishRefused, match="this address already"):
        receivers.add_webhook(user, "https://8.8.8.8/5")


def test_what_is_ticked_is_kept(browser: Client, user: User, script: APIClient) -> None:
    browser.post("/account/preference/", {"failed": "on"})
    boxes = html.get(browser, "/account/").all("input", type="checkbox")
    ticked = {box.attributes["name"] for box in boxes if "checked" in box.attributes}
    over_rest = script.get("/api/v1/preference/").json()
    script.patch("/api/v1/preference/", {"completed": True})
    refused = script.patch("/api/v1/preference/", {"compelted": True})

    assert ticked == {"failed"}
    assert over_rest == {"completed": False, "failed": True, "cancelled": False, "email": False}
    assert refused.json()["errors"]["compelted"].startswith("unknown field")
    kept = Preference.objects.get(user=user)
    assert (kept.completed, kept.failed, kept.email) == (True, True, False)


def test_the_box_of_an_experiment_tells_of_it_alone(browser: Client, user: User) -> None:
    experiment = factories.make_experiment(user=factories.make_user())
    address = f"/experiments/{experiment.pk}/"

    def button() -> str:
        return html.get(browser, address).one(name="wanted").text

    assert button() == "Tell me when it ends"
    nowhere = browser.post(f"{address}watch/", {"wanted": "yes"}, follow=True)
    assert nowhere.redirect_chain[-1][0] == "/account/"
    assert "there is nowhere to tell it" in nowhere.content.decode()
    assert button() == "Do not tell me"
    browser.post(f"{address}watch/", {"wanted": "no"})
    assert button() == "Tell me when it ends"
    assert Watch.objects.get().wanted is False


def test_strangers_and_viewers_see_no_box(client: Client) -> None:
    address = factories.make_experiment().get_absolute_url()

    for role in (None, Role.VIEWER):
        if role:
            client.force_login(factories.make_user(role=role))
        assert html.get(client, address).all(name="wanted") == []


def test_all_of_it_is_there_over_rest_and_is_ones_own(
    script: APIClient, user: User, receiver: Receiver
) -> None:
    other = receivers.add_webhook(factories.make_user(), receiver.url)[0]
    experiment = factories.make_experiment(user=user)

    made = script.post("/api/v1/webhooks/", {"url": receiver.url})
    secret = made.json().pop("secret")
    watch = script.post("/api/v1/watches/", {"experiment": experiment.pk, "wanted": True})
    services.cancel_experiment(experiment, user=user)
    sending.send_due()
    renewed = script.post(f"/api/v1/webhooks/{made.json()['id']}/renew/").json()["secret"]
    tested = [script.post(f"/api/v1/webhooks/{made.json()['id']}/test/") for _ in range(2)]

    assert (made.status_code, watch.status_code) == (201, 201)
    assert is_signed(receiver.calls[0], secret) and secret != renewed
    assert [answer.status_code for answer in tested] == [202, 409]
    (hook,) = script.get("/api/v1/webhooks/").json()["results"]
    assert hook.keys() == {"id", "url", "created_at"}
    found = script.get("/api/v1/deliveries/", {"experiment": experiment.pk}).json()["results"]
    assert [(d["event"], d["status"], d["code"]) for d in found] == [
        ("experiment.cancelled", "delivered", 204)
    ]
    assert script.get(f"/api/v1/webhooks/{other.pk}/").status_code == 403
    assert script.delete(f"/api/v1/webhooks/{hook['id']}/").status_code == 204
    assert Delivery.objects.count() == 0
    assert script.delete(f"/api/v1/watches/{watch.json()['id']}/").status_code == 204
    unknown = script.post("/api/v1/watches/", {"experiment": 10**9, "wanted": True})
    assert unknown.json()["errors"] == {"experiment": "expected an experiment's id"}
