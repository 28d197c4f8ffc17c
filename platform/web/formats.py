"""Numbers, times and sizes as people read them; every function is total over its range."""

import math
from datetime import datetime

from django.utils import timezone

ABSENT = "–"
BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SCALES = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def count(number: float) -> str:
    """Return a whole number with thousands separators: 1,234,567."""
    return f"{number:,.0f}".replace("-", "−")


def whole(number: float) -> str:
    """Return a mean of counts: without decimals where it is whole."""
    return count(number) if number == int(number) else significant(number)


def short_count(number: float) -> str:
    """Return a count in three digits: 1.23 M."""
    for size, unit in SCALES:
        if abs(number) >= size:
            return f"{significant(number / size)} {unit}"
    return count(number)


def significant(number: float, digits: int = 3) -> str:
    """Return a number in so many significant digits without an exponent: 0.0123, 1,230."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    places = digits - 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, places):,.{max(0, places)}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time span in at most two units: 850 ms, 12.3 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{whole} s"


def size(number: float) -> str:
    """Return a number of bytes in three digits: 12.3 MiB."""
    for unit in BINARY[:-1]:
        if number < 1000:
            return f"{significant(number)} {unit}" if number else "0 B"
        number /= 1024
    return f"{significant(number)} {BINARY[-1]}"


def ago(moment: datetime) -> str:
    """Return how long ago a moment was; "now" within two seconds, "in …" for the future."""
    seconds = (timezone.now() - moment).total_seconds()
    if abs(seconds) < 2:
        return "now"
    return f"in {_coarse(-seconds)}" if seconds < 0 else f"{_coarse(seconds)} ago"


def _coarse(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
