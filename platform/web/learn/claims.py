"""The page of claims: what textbooks say, and what this site's boards say of it."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from catalog.models import Protocol
from leaderboards.claims import verdicts
from leaderboards.claims.sentences import SEEDS, SENTENCES, Sentence

DIGITS = 3
MARKS = {"yes": "completed", "no": "failed"}  # icons; others have a ring
LARGEST, SMALLEST = 1000.0, 0.001  # ratios beyond are told as that


@dataclass(frozen=True)
class Shown:
    """One sentence as the page has it."""

    claim: dict[str, Any]
    icon: str
    verdict: str
    parts: list[tuple[dict[str, Any], str]]  # each with its effect in words
    link: str  # to the form, filled so that it would tell


def claims(request: HttpRequest) -> HttpResponse:
    found, dataset = verdicts.current(), _dataset()
    sentences = {each.key: each for each in SENTENCES}
    shown = [_shown(each, sentences[each["key"]], dataset) for each in found.found]
    context = {"shown": shown, "found_at": found.found_at}
    return render(request, "web/learn/claims.html", context)


def _dataset() -> str:
    """Return the dataset of the newest protocol that can be used, "" without one."""
    newest = Protocol.objects.select_related("dataset").order_by("-pk")
    return next((each.dataset.slug for each in newest[:20] if not each.refusal), "")


def _shown(claim: dict[str, Any], sentence: Sentence, dataset: str) -> Shown:
    only = claim["only_dataset"] and claim["verdict"] in MARKS
    return Shown(
        claim=claim,
        icon=MARKS.get(claim["verdict"], "ring"),
        verdict=claim["verdict"] + ", on one dataset only" * bool(only),
        parts=[
            (part, in_words(part["effect"], is_ratio=part["is_ratio"])) for part in claim["parts"]
        ],
        link=form_link(sentence, dataset),
    )


def form_link(sentence: Sentence, dataset: str) -> str:
    """Return the address of the form, filled with an experiment that would tell."""
    query = {
        "dataset": dataset,
        "entry": [f"{name}:tiny" for name in sentence.algorithms],
        "seeds": SEEDS,
        "sampler": sentence.samplers,
    }
    given = {name: value for name, value in query.items() if value}
    return f"{reverse('submit-experiment')}?{urlencode(given, doseq=True)}"


def in_words(effect: dict[str, float | None] | None, *, is_ratio: bool) -> str:
    """Return an effect with its interval: "0.5 times (0.42 to 0.6)" or "+0.3 (0.1 to 0.5)"."""
    if effect is None or effect["value"] is None:
        return ""
    write = _ratio if is_ratio else _difference
    value = write(effect["value"]) + " times" * is_ratio
    if effect["low"] is None:
        return f"{value}, without an interval"
    return f"{value} (95 %: {write(effect['low'])} to {write(effect['high'])})"


def _ratio(value: float | None) -> str:
    if value is None or value > LARGEST:
        return f"over {LARGEST:,.0f}"
    return f"under {SMALLEST}" if value < SMALLEST else f"{value:.{DIGITS}g}"


def _difference(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")
