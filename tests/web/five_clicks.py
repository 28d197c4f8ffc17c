"""The five clicks of the help, done as they are written there."""

import re

from playwright.sync_api import Page, expect

from tests.site import ROOT

STEP = re.compile(r"(?m)^\d\. (?P<deed>Click|Tick) \*\*(?P<name>[^*]+)\*\*")


def written() -> list[tuple[str, str]]:
    """Return each step of the page: what is done, and with what."""
    text = (ROOT / ".readme/five-clicks.md").read_text("utf-8")
    return [(found["deed"], found["name"]) for found in STEP.finditer(text)]


def walk(page: Page) -> None:
    """Go from the start page to the answer; fewer or more than five clicks are none of these."""
    steps = written()
    assert len(steps) == 5
    page.goto("/")
    expect(page.locator(".hero-figure .picture-mark").first).to_be_visible()
    for deed, name in steps:
        if deed == "Tick":
            page.get_by_label(re.compile(f"^Compare {re.escape(name)}(,|$)")).first.check()
            continue
        named = page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name))
        with page.expect_navigation():
            named.first.click()
    answer = page.locator(".advised > li")
    expect(page.get_by_role("heading", level=1)).to_have_text("Which model for my data?")
    assert answer.count() >= 3
    for fact in ("Seconds per image", "Training"):
        expect(answer.first.locator("dt", has_text=fact)).to_be_visible()
    answer.first.locator("summary").click()
    expect(answer.first.locator("code").last).to_contain_text("algorithm:")
