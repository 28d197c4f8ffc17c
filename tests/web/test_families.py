"""Families that other packages bring, and entries whose package is gone, on every page."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from operator import mul

import pytest
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from experiments.models import Entry
from generators.specs import Family
from generators.specs.options import to_dict
from generators.specs.registry import ALGORITHMS, FAMILIES
from leaderboards import ranking
from tests import factories
from tests.browsers import CHROMIUM, chromium, look_at_charts
from tests.toy_vae.spec import SPEC
from tests.web import scenes
from tests.web.forms import open_form
from web.families import DARK, LIGHT, contrast, on_dark, on_light

FLOWS = Family("flows", "Normalising flow", "invertible maps with exact likelihoods", "#ffd900")
CHIP = '<span class="family family-flows" title="invertible maps with exact likelihoods">'


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of an algorithm of a family of its own."""
    monkeypatch.setitem(FAMILIES, FLOWS.name, FLOWS)
    spec = replace(SPEC, name="flows.toy", family=FLOWS, presets={})
    monkeypatch.setitem(ALGORITHMS, spec.name, spec)
    return spec.name


def comparison_with(algorithm: str) -> scenes.Scene:
    """Return a finished comparison in which the algorithm stands in the GAN's place."""
    scene = scenes.finished_comparison(seeds=1)
    config = to_dict(SPEC.config())
    gan = Entry.objects.filter(algorithm="gan.sngan")
    assert gan.update(algorithm=algorithm, config=config, label="Toy flow") == 1
    return scene


@pytest.mark.django_db
def test_a_family_of_another_package_is_shown_wherever_families_are(
    client: Client, flow: str
) -> None:
    scene = comparison_with(flow)
    board = f"/leaderboards/{scene.protocol.fingerprint}/"
    home, experiment, table = (
        client.get(address).content.decode()
        for address in ("/", scene.experiment.get_absolute_url(), board)
    )
    rows = client.get(f"/api{board}").json()["rows"]
    listed = client.get(f"/api/experiments/?algorithm={flow}").json()

    assert f"{CHIP}Normalising flow</span>" in table
    assert f"{CHIP}Normalising flow</span>" in experiment
    assert '<span class="family family-flows">Normalising flow</span></h3>' in experiment
    assert '"family_label": "Normalising flow"' in table  # for the chart
    assert f"{CHIP}Normalising flow</span>" in home
    assert {row["family"] for row in rows if row["algorithm"] == flow} == {"flows"}
    assert listed["count"] == 1


@pytest.mark.django_db
def test_the_form_offers_the_family_and_says_that_there_are_no_presets(
    client: Client, flow: str
) -> None:
    client.force_login(factories.make_user(role=Role.ADMIN))

    factories.make_protocol()
    page = client.get(f"/submit/experiment/?entry={flow}:tiny").content.decode()

    assert (
        '<optgroup label="Normalising flow" title="invertible maps with exact likelihoods">' in page
    )
    form = open_form(client, f"?entry={flow}:tiny")
    assert form.values["entries.0.algorithm"] == [flow]
    assert "entries.0.preset" not in form.values


@pytest.mark.django_db
def test_the_stylesheet_has_every_family_and_is_there_before_signing_in(
    client: Client, flow: str, settings: Settings
) -> None:
    settings.PUBLIC_READ = False

    answer = client.get("/families.css")

    css = answer.content.decode()
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/css; charset=utf-8"
    assert "--family-gan: #b4500b; --family-vae: #0b7567; --family-diffusion: #6741d9;" in css
    assert ".family-flows { color: var(--family-flows); }" in css
    assert f"--family-flows: {on_light(FLOWS)};" in css


@pytest.mark.parametrize("colour", ["#ffd900", "#000000", "#ffffff", "#7f7f7f", "#0000ff"])
def test_any_colour_becomes_one_that_can_be_read(colour: str) -> None:
    family = replace(FLOWS, colour=colour)

    assert contrast(on_light(family), LIGHT) >= 4.5
    assert contrast(on_dark(family), DARK) >= 4.5


def test_the_colours_of_our_own_families_stay_as_they_are() -> None:
    for family in list(FAMILIES.values())[:3]:
        assert (on_light(family), on_dark(family)) == (family.colour, family.dark_colour)


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == 21
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.django_db
def test_entries_of_a_package_that_is_gone_stay_on_pages_and_boards(
    client: Client, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = comparison_with(flow)
    monkeypatch.delitem(ALGORITHMS, flow)
    monkeypatch.delitem(FAMILIES, FLOWS.name)
    client.force_login(factories.make_user(role=Role.ADMIN))
    board = f"/leaderboards/{scene.protocol.fingerprint}/"
    experiment = scene.experiment.pk

    for address in (
        *scenes.addresses(scene),
        *("/api/experiments/", f"/api/experiments/{experiment}/", "/api/runs/", "/api/samplesets/"),
        f"/admin/experiments/experiment/{experiment}/change/",
    ):
        assert client.get(address).status_code == 200, address

    (row,) = [r for r in client.get(f"/api{board}").json()["rows"] if r["algorithm"] == flow]
    assert (row["entry"], row["family"], row["sampler"]) == ("Toy flow", "missing", "direct")
    assert row["FD[classifier]"] > 0
    page = client.get(board).content.decode()
    assert 'title="no flows.toy is installed here">Not installed</span>' in page


@pytest.mark.django_db
def test_an_entry_of_a_package_that_is_gone_keeps_its_row_before_it_was_sampled(
    flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = factories.make_experiment(entries=[{"algorithm": flow}])
    monkeypatch.delitem(ALGORITHMS, flow)

    rows = ranking.rank(experiment.protocols.get()).rows

    assert (flow, "not sampled") in [(row.entry.algorithm, row.sampler_label) for row in rows]


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_chips_and_markers_have_the_familys_colour(
    browser: Browser, live_server: LiveServer, flow: str, theme: str
) -> None:
    scene = comparison_with(flow)
    context = browser.new_context(
        base_url=live_server.url, color_scheme="dark" if theme == "dark" else "light"
    )
    page, complaints = context.new_page(), []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    wanted = on_dark(FLOWS) if theme == "dark" else on_light(FLOWS)
    red, green, blue = (int(wanted[start : start + 2], 16) for start in (1, 3, 5))

    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    look_at_charts(page, 1)

    chip = page.locator(".family-flows").first
    expect(chip).to_have_css("color", f"rgb({red}, {green}, {blue})")
    drawn = page.evaluate(
        "() => document.querySelector('.chart[data-drawn]').data"
        ".find((trace) => trace.name === 'Normalising flow').marker"
    )
    assert (drawn["color"], drawn["symbol"]) == (wanted, "triangle-up")
    assert complaints == []
    page.goto("about:blank")
    context.close()


SIGHT = {  # what is left of linear red, green and blue: Machado, Oliveira and Fernandes, 2009
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
    "three kinds of cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
TO_XYZ = ((0.4339, 0.3762, 0.1899), (0.2126, 0.7152, 0.0722), (0.0177, 0.1095, 0.8729))
APART = 20.0  # of CIELAB; 2.3 is just noticeable


def seen(colour: str, sight: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Return a colour in CIELAB, white of D65, as an eye of that kind sees it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    left = [min(1.0, max(0.0, sum(map(mul, row, linear)))) for row in sight]
    xyz = [sum(map(mul, row, left)) for row in TO_XYZ]
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("shown", [on_light, on_dark])
def test_eyes_of_every_kind_tell_families_apart(shown: Callable[[Family], str], sight: str) -> None:
    colours = [seen(shown(family), SIGHT[sight]) for family in FAMILIES.values()]

    assert min(math.dist(*pair) for pair in combinations(colours, 2)) > APART
