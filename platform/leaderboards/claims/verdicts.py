"""What this site's boards say of each sentence, as plain data; found beside the jobs, and kept."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Max, Q
from django.utils import timezone

from leaderboards.board import columns_of
from leaderboards.claims.comparing import Compared, compared
from leaderboards.claims.pooling import Estimated, Pooled, Verdict, interval, pooled
from leaderboards.claims.rows import Rows, read
from leaderboards.claims.sentences import SENTENCES, Part, Sentence
from leaderboards.models import FoundClaims, Judging, Standing
from leaderboards.origins.budgets import Budget

MOST_AT_ONCE = 1000  # rows of boards that a request compares itself
MOST_BOARDS = 20  # that are named
LOST_AFTER = timedelta(minutes=10)  # whoever began is taken for dead

Record = dict[str, Any]


def found(rows: Rows) -> list[Record]:
    """Return every sentence with its verdict and the boards behind it."""
    return [_sentence(rows, each) for each in SENTENCES]


def _sentence(rows: Rows, sentence: Sentence) -> Record:
    parts = [_part(rows, part) for part in sentence.parts]
    return {
        "key": sentence.key,
        "text": sentence.text,
        "about": sentence.about,
        "verdict": _together(parts),
        "only_dataset": next((part["only_dataset"] for part in parts if part["only_dataset"]), ""),
        "parts": parts,
    }


def _together(parts: Sequence[Record]) -> Verdict:
    """Return "no" where any part says so, else what those that decide agree on."""
    if any(part["verdict"] == "no" for part in parts):
        return "no"
    said = {part["verdict"] for part in parts if part["decides"]}
    if "not enough data" in said:
        return "not enough data"
    return "yes" if said == {"yes"} else "undecided"


def _part(rows: Rows, part: Part) -> Record:
    each = list(compared(rows, part))
    of_dataset: dict[int, list[Estimated]] = defaultdict(list)
    for one in each:
        of_dataset[one.protocol.dataset_id].append(one.effect)
    effect = pooled(of_dataset)
    verdict: Verdict = "not enough data" if effect is None else effect.verdict(less=part.less)
    return {
        "words": part.words,
        "is_ratio": part.is_ratio,
        "decides": part.decides,
        "verdict": verdict,
        "reason": _reason(part, each, effect),
        "effect": None if effect is None else _effect(effect, part),
        "datasets": len(of_dataset),
        "only_dataset": each[0].protocol.dataset.name if len(of_dataset) == 1 else "",
        "comparisons": len(each),
        "entries": sum(one.ours + one.theirs for one in each),
        "lost": sum(one.lost for one in each),
        "boards": [_board(one, part) for one in each[:MOST_BOARDS]],
    }


def _reason(part: Part, each: Sequence[Compared], effect: Pooled | None) -> str:
    """Return why there is no verdict; "" where there is one."""
    if effect is None:
        seeds = ", with two seeds at least" if part.of == "spread" else ""
        device = ", on one device" if part.is_of_device else ""
        images = " of images" if part.is_of_device == "training" else ""
        return (
            f"No board has entries of both sides at one budget{images}{seeds}{device}, "
            "all of whose seeds have ended."
        )
    if effect.low is None:
        return (
            f"On {each[0].protocol.dataset.name} alone, with one seed each: nobody knows how much "
            "another training would differ."
        )
    return ""


def _effect(effect: Pooled, part: Part) -> Record:
    numbers = {"value": effect.value, "low": effect.low, "high": effect.high}
    if not part.is_ratio:
        return numbers
    return {name: None if x is None else _exp(x) for name, x in numbers.items()}


def _exp(x: float) -> float | None:
    """Return a ratio; one too large for a number is no bound."""
    return math.exp(x) if x < 700 else None


def _board(one: Compared, part: Part) -> Record:
    labels = {column.key: column.label for column in columns_of(one.protocol)}
    return {
        "protocol": one.protocol.fingerprint,
        "name": one.protocol.name,
        "dataset": one.protocol.dataset.name,
        "budget": Budget.of_key(one.budget).words,
        "metric": labels[one.metric],
        "device": one.device,
        "ours": one.ours,
        "theirs": one.theirs,
        "effect": _effect(interval(one.effect), part),
    }


def current() -> FoundClaims:
    """Return what was found: now where the site is small and whole, else what was kept last."""
    if Standing.objects.count() <= MOST_AT_ONCE and not _lacks_rows():
        return FoundClaims(found=found(read()), found_at=timezone.now())
    return FoundClaims.objects.first() or FoundClaims()


def _lacks_rows() -> bool:
    """Return whether a board's rows are still being written, of which nothing follows."""
    return Judging.objects.filter(to_write__gt=0).exists()


def find_anew() -> bool:
    """Find what boards say, where one was judged since, and return whether this call did.

    1. Take the one row, unless somebody has it. 2. Compare. 3. Keep what was found; one who is
    killed there leaves what was kept before, and the row to the next after a while.
    """
    latest = Judging.objects.aggregate(at=Max("judged_at"))["at"]
    if latest is None or _lacks_rows():
        return False
    mine, _ = FoundClaims.objects.get_or_create(pk=1)
    now = timezone.now()
    is_free = Q(begun_at=None) | Q(begun_at__lt=now - LOST_AFTER)
    is_old = Q(of=None) | Q(of__lt=latest)
    if not FoundClaims.objects.filter(is_free & is_old, pk=mine.pk).update(begun_at=now):
        return False
    FoundClaims.objects.filter(pk=mine.pk, begun_at=now).update(
        found=found(read()), found_at=timezone.now(), of=latest, begun_at=None
    )
    return True
