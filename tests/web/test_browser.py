"""The pages in a real browser: charts, theme, phone width, live parts, a clean console."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from experiments.models import LossPoint, Question, Run
from jobs.models import Status
from tests import factories
from tests.browsers import CHROMIUM, PATIENCE_MS, chromium, look_at_charts
from tests.servers import wait_until
from tests.web import scenes

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in the browser during a test."""
    return []


@pytest.fixture
def page(browser: Browser, live_server: LiveServer, complaints: list[str]) -> Iterator[Page]:
    """A tab of the site that writes down every error, failed request and foreign address."""
    context = browser.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 800}, color_scheme="light"
    )
    context.set_default_timeout(PATIENCE_MS)
    tab = context.new_page()

    def note_request(request: Request) -> None:
        if not request.url.startswith((live_server.url, "data:", "blob:")):
            complaints.append(f"elsewhere: {request.url}")

    def note_failure(request: Request) -> None:
        if "ERR_ABORTED" not in str(request.failure):  # the tab left before the picture came
            complaints.append(f"{request.failure}: {request.url}")

    def note_answer(response: Response) -> None:
        if response.status >= 400:
            complaints.append(f"{response.status}: {response.url}")

    tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("requestfailed", note_failure)
    tab.on("request", note_request)
    tab.on("response", note_answer)
    yield tab
    tab.goto("about:blank")  # nothing asks the server any more when the database is emptied
    context.close()


def wait_for(page: Page, expression: str) -> None:
    """Wait until it is true; Playwright's own way polls by `eval`, which our pages forbid."""
    wait_until(lambda: page.evaluate(expression), seconds=30, what=expression)


def charts_drawn(page: Page) -> int:
    return page.locator(".chart[data-drawn] svg.main-svg:first-of-type").count()


def test_charts_are_drawn_and_follow_the_theme(page: Page, complaints: list[str]) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page.goto(scene.experiment.get_absolute_url())
    look_at_charts(page, 5)  # trilemma and four entries
    assert charts_drawn(page) == 5
    assert page.locator(".chart-trilemma .scatterlayer .point").count() == 6
    assert page.locator(".chart-trilemma .yerror").count() == 6

    def grid_colour() -> str:
        line = page.locator(".chart-trilemma .gridlayer path").first
        return str(line.evaluate("line => getComputedStyle(line).stroke"))

    light, background = grid_colour(), page.evaluate(BACKGROUND)
    page.get_by_role("button", name="Use the other colour theme").click()

    wait_for(page, "document.documentElement.dataset.theme === 'dark'")
    assert grid_colour() != light
    assert page.evaluate(BACKGROUND) != background
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    look_at_charts(page, 5)
    assert complaints == []


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def test_small_grids_keep_hard_pixels_and_large_ones_are_smoothed(page: Page) -> None:
    run = factories.make_run(status=Status.COMPLETED)
    scenes.add_preview(run, images_seen=100)  # 36 pixels wide, shown larger
    scenes.add_preview(run, images_seen=200, side=720)
    page.goto(run.get_absolute_url())
    rendering = "img => img.complete && img.naturalWidth && getComputedStyle(img).imageRendering"

    small, large = page.locator(".grid-image").all()

    expect(small).to_have_css("image-rendering", "pixelated")
    wait_for(page, "document.querySelectorAll('.grid-image')[1].naturalWidth === 720")
    assert large.evaluate(rendering) == "auto"


def test_no_page_is_wider_than_a_phone_and_all_stay_quiet(
    page: Page, complaints: list[str]
) -> None:
    factories.make_worker(name="celery@a-node-with-a-rather-long-name.cluster.example")
    done, live = scenes.finished_comparison(seeds=2, failing=True), scenes.running_comparison()
    page.set_viewport_size({"width": 390, "height": 844})
    failed = next(run for run in live.runs if run.status == Status.FAILED)
    found = {*scenes.addresses(done, live)} - {r.get_absolute_url() for r in done.runs[1:]}

    for address in sorted(found):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, address
    assert failed.get_absolute_url() in found
    assert complaints == []


def test_the_boards_first_column_stays_while_the_rest_scrolls(page: Page) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    name = page.locator("tbody .ranking-entry").nth(1)
    before = name.bounding_box()

    page.locator(".scroller").first.evaluate("box => { box.scrollLeft = 300; }")

    assert name.bounding_box() == before
    assert page.locator(".scroller").first.evaluate("box => box.scrollLeft") == 300


@pytest.mark.slow
def test_the_training_copy_is_marked_and_all_metrics_are_a_link_away(
    page: Page, complaints: list[str]
) -> None:
    scene = scenes.finished_comparison(seeds=1)
    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")

    copy = page.locator("tr[data-control=copy]")
    expect(copy.locator("[data-column=authenticity] .ranking-mark [aria-hidden]")).to_have_text("‡")
    expect(copy.locator("[data-column=authenticity] [aria-hidden]")).to_be_visible()
    expect(page.locator("tr:not([data-control=copy]) .ranking-mark")).to_have_count(0)
    expect(page.get_by_text("these may be copies")).to_be_visible()

    expect(page.locator("[data-column=density]")).to_have_count(0)
    page.get_by_role("link", name="All 7 metrics").click()
    expect(copy.locator("[data-column=density]")).to_be_visible()
    page.get_by_role("link", name="recall ↑").click()
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("recall")
    expect(copy.locator("[data-column=density]")).to_be_visible()
    expect(page.locator(".choice[aria-current]")).to_have_text("All 7 metrics")
    assert complaints == []


def test_two_boards_of_one_experiment_say_why_they_may_not_be_compared(
    page: Page, complaints: list[str]
) -> None:
    dataset = factories.make_dataset()
    protocols = [
        factories.make_protocol(
            dataset=dataset, name=name, num_images=number, metrics=scenes.METRICS
        )
        for name, number in (("Fifty", 50), ("Sixty", 60))
    ]
    experiment = factories.make_experiment(protocols=protocols)
    page.goto(experiment.get_absolute_url())

    apart = page.locator(".board-apart")

    expect(apart).to_contain_text("Not comparable with Fifty")
    apart.locator("summary").click()
    expect(apart.get_by_text("num images: 60 and 50").first).to_be_visible()
    expect(apart.get_by_text("metrics recall reference count: 60 and 50")).to_be_visible()
    apart.get_by_role("link", name="Fifty").click()
    expect(page.locator(".verdict-differs")).to_contain_text("Not comparable with Sixty")
    assert complaints == []


def test_a_further_board_comes_as_somebody_scrolls_down_to_it(
    page: Page, complaints: list[str]
) -> None:
    page.goto(scenes.with_two_boards(entries=22).get_absolute_url())
    boards, later = page.locator(".ranking"), page.locator(".board-later")
    expect(boards).to_have_count(1)
    expect(later).to_have_count(1)  # two screens below

    page.get_by_role("navigation", name="Boards").get_by_role("link", name="B").click()

    expect(boards).to_have_count(2, timeout=PATIENCE_MS)
    expect(later).to_have_count(0)
    assert complaints == []


def test_the_home_page_follows_a_run_to_its_end(page: Page, complaints: list[str]) -> None:
    run = factories.make_run(status=Status.RUNNING)
    for control in factories.controls_of(run.entry.experiment):
        factories.make_sample_set(entry=control)
    page.goto("/")
    percent = page.locator(".meter-percent").first  # of the run; its experiment's come after
    expect(percent).to_have_text("50 %")

    Run.objects.filter(pk=run.pk).update(budget_fraction=0.75)
    expect(percent).to_have_text("75 %")

    factories.make_run(entry=run.entry, status=Status.COMPLETED)
    expect(page.get_by_text("Nothing is running and nothing waits.")).to_be_visible()
    assert page.locator("[hx-trigger]").count() == 0
    assert complaints == []


def test_a_runs_page_follows_its_status_samples_and_losses(
    page: Page, complaints: list[str]
) -> None:
    run = factories.make_run(status=Status.RUNNING, loss_points=3)
    page.goto(run.get_absolute_url())
    points = "document.querySelector('.chart').data[0].x.length"
    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    wait_for(page, f"document.querySelector('.chart[data-drawn]') && {points} === 3")
    assert page.locator(".strip-item").count() == 0

    LossPoint.objects.create(run=run, images_seen=900, wall_seconds=9, losses={"loss": 0.1})
    scenes.add_preview(run, images_seen=900)
    wait_for(page, f"{points} === 4")
    expect(page.locator(".strip-item figcaption")).to_have_text("900 images")
    wait_for(page, "document.querySelector('.strip-item img').naturalWidth === 36")

    factories.make_run(entry=run.entry, status=Status.FAILED)
    expect(page.locator(".run-status .status")).to_have_text("failed")
    expect(page.get_by_text("out of memory")).to_be_visible()
    user = factories.make_user(role=Role.ADMIN)
    page.locator(".run-status").get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.locator("summary", has_text="Traceback").click()
    expect(page.get_by_text("MemoryError")).to_be_visible()
    assert page.locator("[hx-trigger]").count() == 0
    assert complaints == []


PARTS = "document.querySelectorAll('[hx-trigger=poll], [data-poll]').length"
KEEP_TICK = """const real = setInterval;
window.setInterval = (what, ms) => (ms === 1000 ? (window.tick = what) && 0 : real(what, ms));"""


def test_a_page_asks_for_one_part_a_second_and_for_none_while_it_is_hidden(page: Page) -> None:
    scene = scenes.running_comparison()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("?")[0]))
    page.add_init_script(KEEP_TICK)
    page.goto(scene.experiment.get_absolute_url())
    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    wait_for(page, f"{PARTS} >= 5")  # four regions, and a chart that has its first answer
    page.wait_for_load_state("networkidle")

    asked.clear()
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.evaluate("for (let second = 0; second < 9; second++) tick()")
    page.wait_for_load_state("networkidle")
    assert asked == []

    parts = page.evaluate(PARTS)
    page.evaluate("delete document.hidden")
    page.evaluate("for (let second = 0; second < 9; second++) tick()")  # in less than two seconds
    wait_until(lambda: len(asked) >= parts, seconds=30, what="every part was asked for")
    assert len(asked) == len(set(asked)) == parts
    page.wait_for_load_state("networkidle")
    page.goto("about:blank")  # nothing is asked while the database is emptied


@pytest.mark.slow
def test_a_run_is_cancelled_with_the_mouse_and_the_page_says_so(
    page: Page, complaints: list[str], live_server: LiveServer
) -> None:
    user = factories.make_user(role=Role.ADMIN)
    run = factories.make_run(status=Status.RUNNING)
    page.goto("/login/?next=" + run.get_absolute_url())
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(live_server.url + run.get_absolute_url())
    complaints.clear()  # the login page is the admin's

    page.get_by_role("button", name="Cancel").click()

    expect(page.locator(".notices")).to_have_text(f"{run}: stops at its next beat.")
    expect(page.locator(".run-status .status")).to_have_text("cancelling")
    run.refresh_from_db()
    assert run.status == Status.CANCELLING
    assert complaints == []


def test_the_pages_work_without_javascript(browser: Browser, live_server: LiveServer) -> None:
    scene = scenes.running_comparison()
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    tab = context.new_page()

    tab.goto(scene.run.get_absolute_url())

    expect(tab.get_by_text("Without JavaScript this page shows the state")).to_be_visible()
    expect(tab.get_by_role("link", name="its numbers as JSON")).to_be_visible()
    expect(tab.locator(".run-status")).to_contain_text("50 %")
    context.close()


def test_the_keyboard_reaches_the_content_first(page: Page) -> None:
    page.goto("/workers/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_ticked_rows_of_a_board_stand_side_by_side(page: Page, complaints: list[str]) -> None:
    scene = scenes.finished_comparison(seeds=2)
    scenes.add_preview(scene.run, images_seen=400)
    scenes.add_preview(scene.run, images_seen=1000, side=72)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"/leaderboards/{scene.protocol.fingerprint}/")
    for name in ("SNGAN, direct", "σ-VAE, direct", "DDPM, DDIM 50"):
        page.get_by_label(f"Compare {name}").check()
    page.get_by_role("button", name="Compare 3 ticked rows").click()

    expect(page.locator("h1")).to_have_text("3 entries, side by side")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator("[data-metric=fd] .is-worse")).to_have_count(2)
    page.get_by_role("link", name="Losses").click()
    expect(page.locator("[data-chart=compare][data-drawn] .legendtext")).to_have_count(3)

    row = page.locator(".compare-grid tbody tr").nth(1)
    before = row.locator("svg").first.bounding_box()
    row.locator("svg").nth(2).click()
    after = row.locator("svg").first.bounding_box()
    assert before is not None and after is not None and after["width"] > 2 * before["width"]

    film = page.locator("[data-film]")
    wait_for(page, "document.querySelector('[data-film] img').naturalWidth === 72")
    page.locator("[data-films] input[type=range]").fill("1")
    expect(film.locator("figcaption")).to_have_text("after 400 images")
    wait_for(page, "document.querySelector('[data-film] img').naturalWidth === 36")
    page.get_by_role("link", name="Make it the baseline").first.click()
    expect(page.locator("[data-metric=fd] .is-better")).to_have_count(1)
    assert complaints == []


def test_the_guidance_curve_is_drawn_joined_and_named(page: Page, complaints: list[str]) -> None:
    experiment = scenes.guided_comparison()
    page.goto(f"/experiments/{experiment.pk}/prompts/")
    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    chart = page.locator("[data-chart=guidance][data-drawn]")

    expect(chart.locator(".scatterlayer .point")).to_have_count(8)
    expect(chart.locator(".scatterlayer .trace.scatter path.js-line")).to_have_count(1)
    expect(chart.locator(".yerror")).to_have_count(8)
    named = chart.locator(".scatterlayer .textpoint").all_text_contents()
    assert {"w=0", "w=1", "w=2", "w=4", "ceiling", "SNGAN"} <= set(named)

    page.get_by_label("What is followed").select_option("following_colour")
    page.get_by_role("button", name="Show").focus()
    page.keyboard.press("Enter")

    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    expect(chart.locator(".ytitle")).to_contain_text("Following: colour")
    assert complaints == []


@pytest.mark.slow
def test_the_page_of_prompts_fits_a_phone(page: Page, complaints: list[str]) -> None:
    experiment = scenes.guided_comparison(seeds=2)
    page.set_viewport_size({"width": 390, "height": 844})

    page.goto(f"/experiments/{experiment.pk}/prompts/")

    page.locator("[data-chart]").first.scroll_into_view_if_needed()
    expect(page.locator("[data-chart=guidance][data-drawn]")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert complaints == []


def test_a_question_is_asked_by_keyboard_and_its_page_follows_the_job(
    page: Page, complaints: list[str]
) -> None:
    experiment = scenes.guided_comparison()
    ada = factories.make_user()
    page.goto(f"/login/?next=/experiments/{experiment.pk}/prompts/")
    page.get_by_label("Username").fill(ada.username)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "prompts" in url)
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.type("a purple shape")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not know 'purple'")
    page.wait_for_load_state()  # what takes the focus when a page has loaded has taken it

    page.get_by_label("Prompt", exact=True).fill("a red shape")
    for _ in range(3):  # past images and first seed, to the button
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Ask")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "questions" in url)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    assert page.locator("tbody").count() == 0

    factories.finish_question(Question.objects.get())  # while the page looks on

    expect(page.locator("svg.prompt-image")).to_have_count(4)
    expect(page.get_by_text("could not draw")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert complaints == []
