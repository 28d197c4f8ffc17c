"""The process viewers: a tab for each way to look, a form that asks, a film that also stands still."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role, User
from experiments.models import Run, Viewing
from jobs.models import Status
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium
from tests.web import html
from tests.web.test_live import polled
from web.process.film import history, in_words

pytestmark = pytest.mark.django_db


def completed_run(**entry: Any) -> Run:
    entries = [{"algorithm": "diffusion.ddpm", **entry}]
    (made,) = factories.contenders_of(factories.make_experiment(entries=entries))
    run = factories.make_run(entry=made, status=Status.COMPLETED)
    factories.make_checkpoint(run=run)
    return run


def address(run: Run, kind: str = "reverse") -> str:
    return f"/runs/{run.pk}/process/?show={kind}"


def test_the_page_of_a_run_leads_to_each_way_to_look(client: Client) -> None:
    run = completed_run()

    (link,) = [
        each
        for each in html.get(client, run.get_absolute_url()).all("a")
        if each.text == "Look inside"
    ]
    page = html.get(client, link.attributes["href"])

    tabs = page.one("nav", class_name="viewers").all("a")
    assert [tab.text.split(":")[0] for tab in tabs] == [
        *(
            "Forward",
            "Backward",
            "One seed, several samplers",
            "From seed to seed",
            "How it learned",
        ),
    ]
    assert tabs[0].attributes["aria-current"] == "true"
    assert "Nobody has asked for these pictures yet" in page.text
    assert (
        "aria-current"
        in html.get(client, address(run)).one("nav", class_name="viewers").all("a")[1].attributes
    )


def test_what_is_asked_is_queued_and_leads_to_a_page_that_follows_it(
    client: Client, ada: User
) -> None:
    run = completed_run(samplers=[{"name": "ddim", "steps": 50}, {"name": "ddpm", "steps": 20}])
    form = html.get(client, address(run)).one("form", class_name="ask")
    assert [option.text for option in form.all("option")] == [
        "any",
        *"0123456789",
        "DDIM 50",
        "DDPM 20",
    ]

    response = client.post(address(run), {"first": "4", "told": "3", "sampler": "DDPM 20"})

    viewing = Viewing.objects.get()
    assert response["Location"] == f"/viewings/{viewing.pk}/"
    assert (viewing.kind, viewing.first, viewing.told) == ("reverse", 4, "3")
    assert (viewing.sampler_label, viewing.created_by) == ("DDPM 20", ada)
    page = html.get(client, response["Location"])
    assert "no worker is online for the queue gpu" in page.text.lower()
    (part,) = polled(page)
    factories.finish_viewing(viewing)  # while the page looks on
    ended = html.read(html.body(client.get(part)))
    assert len(ended.all("svg")) == 6 and polled(ended) == []


def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(
    client: Client, ada: User
) -> None:
    run = completed_run()

    page = html.read(html.body(client.post(address(run), {"first": "-1", "told": "99"})))

    (first,) = [e for e in page.all("input") if e.attributes.get("name") == "first"]
    assert first.attributes["value"] == "-1"
    assert first.attributes["aria-describedby"] == "ask-first-error"
    assert "whole number of 0 to" in page.one("p", id="ask-first-error").text
    assert "class of 0 to 9" in page.one("p", id="ask-told-error").text
    assert not Viewing.objects.exists()


def test_who_asks_too_much_reads_so(client: Client, ada: User, settings: Settings) -> None:
    settings.QUESTIONS_UNFINISHED = 1
    run = completed_run()
    client.post(address(run), {"first": "0"})

    page = html.read(html.body(client.post(address(run, "noising"), {"first": "0"})))

    assert "1 question of yours may wait" in page.one("p", id="ask-kind-error").text


def test_strangers_and_viewers_see_pictures_and_cannot_ask(client: Client) -> None:
    run = completed_run()
    page = html.get(client, address(run))
    assert page.all("form", class_name="ask") == [] and "Sign in to ask" in page.text
    assert client.post(address(run), {})["Location"].startswith("/login/?next=/runs/")
    client.force_login(factories.make_user(role=Role.VIEWER))
    assert "Your account reads" in html.get(client, address(run)).text
    assert client.post(address(run), {}).status_code == 403
    assert not Viewing.objects.exists()


def test_without_javascript_every_frame_is_a_picture_with_its_numbers(client: Client) -> None:
    viewing = factories.make_viewing(status=Status.COMPLETED)

    page = html.get(client, address(viewing.run))  # the newest of its kind

    heads = [head.text for head in page.one("thead").all("th")]
    assert heads[1:] == [
        "step 1 timestep 999 ᾱ < 0.001 SNR −40.0 dB",
        "step 2 timestep 499 ᾱ = 0.500 SNR 0.0 dB",
        "the image",
    ]
    boxes = [svg.attributes["viewbox"] for svg in page.one("tbody").all("svg")]
    assert boxes == [f"{4 + 68 * x} {4 + 68 * y} 64 64" for y in range(2) for x in range(3)]
    assert "hidden" in page.one("div", class_name="player").attributes
    sheet = f"/viewings/{viewing.pk}.png?v={viewing.sha256[:12]}"
    assert {image.attributes["href"] for image in page.all("image")} == {sheet}
    assert "Asked for: class 0" in page.text
    with closing(client.get(sheet)) as answer:
        assert (answer.status_code, answer["Content-Type"]) == (200, "image/png")
        assert "immutable" in answer["Cache-Control"]


def test_who_asked_cancels_it_and_others_do_not(client: Client, ada: User) -> None:
    viewing, other = factories.make_viewing(user=ada), factories.make_viewing()
    page = html.get(client, viewing.get_absolute_url())

    client.post(page.one("button", id="cancel").attributes["formaction"])

    viewing.refresh_from_db()
    assert viewing.status == Status.CANCELLED
    assert html.get(client, other.get_absolute_url()).all("button", id="cancel") == []
    assert client.post(f"/jobs/viewing/{other.pk}/cancel/").status_code == 403
    client.post(f"/jobs/viewing/{viewing.pk}/retry/")
    viewing.refresh_from_db()
    assert viewing.status == Status.CANCELLED  # asking again counts, retrying would not


def test_workers_say_what_they_look_into(client: Client) -> None:
    viewing = factories.make_viewing(status=Status.RUNNING)

    for page in ("/workers/", "/"):
        text = html.get(client, page).text
        assert f"{viewing.run.entry} looking into seed 0, reverse" in text


def test_numbers_of_frames_are_told_in_words() -> None:
    assert in_words({"time": 0.0, "timestep": None, "alpha_bar": 1.0, "snr_db": None}) == [
        *("t = 0.00", "clean", "ᾱ = 1.000", "SNR ∞"),
    ]
    assert in_words({"sigma": 80.0, "alpha_bar": 0.0, "snr_db": None}) == [
        *("σ = 80.0", "ᾱ < 0.001", "SNR 0"),
    ]
    assert in_words({"nfe": 35, "logit": -1.234, "psnr_db": None, "new": 3}) == [
        *("NFE 35", "logit −1.23", "the same"),
    ]
    assert in_words({"steps": 1}) == ["1 step"] and in_words({"reason": "why"}) == ["cannot: why"]


def test_verdicts_in_training_are_two_lines_between_their_extremes() -> None:
    drawn = history(Viewing(facts={"history": [[50, 1.0, -1.0], [100, 0.0, 3.0]]}))

    assert drawn is not None
    assert [line.points for line in drawn["lines"]] == [
        *("300.0,60.0 600.0,90.0", "300.0,120.0 600.0,0.0"),
    ]
    assert (drawn["low"], drawn["high"]) == ("−1.0", "3.0")
    assert history(Viewing(facts={"history": [[50, 1.0, -1.0]]})) is None


def test_a_word_of_the_glossary_leads_into_the_newest_model_of_its_kind(client: Client) -> None:
    assert "Look inside" not in html.get(client, "/glossary/diffusion/").text
    run = completed_run()

    page = html.get(client, "/glossary/diffusion/")

    assert f"/runs/{run.pk}/process/?show=reverse" in [
        link.attributes.get("href") for link in page.all("a")
    ]
    assert "Look inside" not in html.get(client, "/glossary/gan/").text


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium on the PATH")
    with chromium() as started:
        yield started


def opened(browser: Browser, live_server: LiveServer, motion: Any, complaints: list[str]) -> Page:
    context = browser.new_context(
        base_url=live_server.url,
        viewport={"width": 390, "height": 844},
        reduced_motion=motion,
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_film_is_played_by_button_slider_and_keys_and_by_itself_only_where_motion_is_welcome(
    browser: Browser, live_server: LiveServer
) -> None:
    viewing, complaints = factories.make_viewing(status=Status.COMPLETED), list[str]()
    page = opened(browser, live_server, "reduce", complaints)

    page.goto(viewing.get_absolute_url())

    place, said = page.locator("[data-place]"), page.locator("[data-said]")
    expect(place).to_have_text("1 of 3")
    page.wait_for_timeout(700)
    expect(place).to_have_text("1 of 3")  # nothing moves by itself
    page.locator("[data-frame]").focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("step 2 · timestep 499 · ᾱ = 0.500 · SNR 0.0 dB")
    assert page.locator(".player-image").first.get_attribute("viewBox") == "72 4 64 64"
    page.keyboard.press("End")
    expect(place).to_have_text("3 of 3")
    page.keyboard.press("Home")
    page.get_by_role("button", name="Play").click()
    expect(place).to_have_text("3 of 3")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.locator("[data-frame]").fill("2")
    expect(place).to_have_text("2 of 3")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.context.close()

    moving = opened(browser, live_server, "no-preference", complaints)
    moving.goto(viewing.get_absolute_url())
    expect(moving.locator("[data-place]")).to_have_text("3 of 3")
    moving.context.close()
    assert complaints == []
