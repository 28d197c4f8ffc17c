"""The rule by which the labels of conditional samples are drawn, as a protocol says it.

A rule has a name, each class's share (whole numbers, relative to each other) and the order in which
labels follow from shares. A protocol without one is of before: labels came in turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.protocols.checking import ProtocolError, expect, is_count

REFERENCE, UNIFORM, GIVEN = RULES = ("reference", "uniform", "given")
ORDER = "quota method (Balinski and Young, 1975), ties to the lower class"
LARGEST_SUM = 10**9  # of all shares
SHOWN = 10  # shares in words; of more, the first
IN_TURN = "in turn over the model's classes"

Rule = Mapping[str, Any]
Wanted = str | tuple[int, ...]  # "reference", "uniform", or a share for each class


def read_rule(text: str) -> Wanted:
    """Return the rule that a command line names: reference, uniform, or shares as in 7,2,1.

    Raises:
        ValueError: if it is none of these.
    """
    if text in (REFERENCE, UNIFORM):
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise ValueError(
            f"expected {REFERENCE}, {UNIFORM} or a whole number for each class, as in 7,2,1; "
            f"got {text!r}"
        )
    return tuple(map(int, parts))


def label_rule(wanted: Wanted | None, counts: Sequence[int] | None) -> dict[str, Any] | None:
    """Return the rule for a reference, None where it is unlabelled and nothing was asked for.

    wanted: None = as the reference, if it is labelled.
    counts: how many of the reference's images each class has; None = it is unlabelled.

    Raises:
        ProtocolError: if the reference has no labels, other classes, or none of a class with a share.
    """
    if counts is None:
        if wanted is not None:
            raise ProtocolError("images.labels", "expected labels of the reference, it has none")
        return None
    if isinstance(wanted, tuple):
        _check_given(wanted, counts)
        return {"rule": GIVEN, "shares": list(wanted), "order": ORDER}
    shares = [min(count, 1) for count in counts] if wanted == UNIFORM else list(counts)
    return {"rule": wanted or REFERENCE, "shares": shares, "order": ORDER}


def _check_given(shares: Sequence[int], counts: Sequence[int]) -> None:
    if len(shares) != len(counts):
        raise ProtocolError(
            "images.labels",
            f"expected a share for each of the reference's {len(counts)} classes, "
            f"got {len(shares)}",
        )
    for label, (share, count) in enumerate(zip(shares, counts, strict=True)):
        if share and not count:
            message = f"class {label} has a share, but no image of the reference is of it"
            raise ProtocolError("images.labels", message)


def check_rule(rule: object) -> None:
    """Raise ProtocolError unless this is a rule, or None."""
    if rule is None:
        return
    fields = ("rule", "shares", "order")
    is_rule = isinstance(rule, Mapping) and set(rule) == set(fields)
    expect("images.labels", is_rule, f"an object of {', '.join(fields)}", rule)
    assert isinstance(rule, Mapping), "it was expected"
    name, shares = rule["rule"], rule["shares"]
    expect("images.labels.rule", name in RULES, f"one of {', '.join(RULES)}", name)
    expect("images.labels.order", isinstance(rule["order"], str), "text", rule["order"])
    are_counts = isinstance(shares, list) and all(is_count(n) and n >= 0 for n in shares)
    expect(
        "images.labels.shares",
        are_counts and 0 < sum(shares) <= LARGEST_SUM,
        f"whole numbers from 0 whose sum is 1 to {LARGEST_SUM:,}",
        shares,
    )


def in_words(rule: Rule | None) -> str:
    """Return how labels are drawn, as it may follow "labels are drawn"."""
    if rule is None:
        return IN_TURN
    shares = rule["shares"]
    present = sum(share > 0 for share in shares)
    if rule["rule"] == UNIFORM:
        return f"in equal shares of the reference's {present} classes"
    owner = "the reference's" if rule["rule"] == REFERENCE else "given"
    numbers = " : ".join(f"{share:,}" for share in shares[:SHOWN])
    more = " : …" if len(shares) > SHOWN else ""
    return f"in {owner} shares of {present} classes ({numbers}{more})"


def deviations(rule: Rule, found: Mapping[int, int]) -> list[tuple[int, int, float]]:
    """Return each class whose images are further from its share than rounding explains.

    found: images of each class. Of each class comes its number, the images it has and those that
    are its share, the furthest first.
    """
    shares = dict(enumerate(rule["shares"]))
    images, total = sum(found.values()), sum(shares.values())
    due = {label: images * shares.get(label, 0) / total for label in {**shares, **found}}
    off = [(k, found.get(k, 0), due[k]) for k in due if abs(found.get(k, 0) - due[k]) >= 1]
    return sorted(off, key=lambda each: -abs(each[1] - each[2]))
