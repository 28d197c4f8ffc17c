"""What somebody asks for advice about, read from a form's or an address's texts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.models import Protocol
from leaderboards.advice.fitting import Wish
from leaderboards.highlights import protocols_in_use

FIELDS = ("dataset", "protocol", "device", "seconds_per_image", "training_seconds")
LARGEST = 1e9


class AdviceError(ValueError):
    """Wrong values; `errors` says at each field what was expected."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{name}: {text}" for name, text in errors.items()))


@dataclass(frozen=True)
class Question:
    """A board and what may be spent."""

    protocol: Protocol
    wish: Wish


def read(given: Mapping[str, str]) -> Question:
    """Return what is asked: of the dataset's board that was used last, unless one is named.

    Raises:
        AdviceError: with every wrong field.
    """
    errors: dict[str, str] = {}
    numbers = {name: _number(given.get(name, ""), name, errors) for name in FIELDS[3:]}
    protocol = _protocol(given, errors)
    if errors or protocol is None:
        raise AdviceError(errors)
    return Question(protocol, Wish(given.get("device", "")[:200], **numbers))


def _number(text: str, name: str, errors: dict[str, str]) -> float | None:
    if not text.strip():
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if 0 < number <= LARGEST:
        return number
    errors[name] = f"expected a number of seconds above 0, got {text!r}"[:200]
    return None


def _protocol(given: Mapping[str, str], errors: dict[str, str]) -> Protocol | None:
    slug, fingerprint = given.get("dataset", ""), given.get("protocol", "")
    found = protocols_in_use()
    found = found.filter(dataset__slug=slug) if slug or not fingerprint else found
    found = found.filter(fingerprint=fingerprint) if fingerprint else found
    protocol = found.first()
    if protocol is None and fingerprint:
        errors["protocol"] = f"expected the fingerprint of a board in use, got {fingerprint!r}"[
            :200
        ]
    elif protocol is None:
        errors["dataset"] = f"expected a dataset with a board, got {slug!r}"[:200]
    return protocol
