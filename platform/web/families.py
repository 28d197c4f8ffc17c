"""The stylesheet with the families' colours, which algorithms of other packages may add to."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control

from generators.specs import registry
from generators.specs.algorithms import Family

LIGHT, DARK = "#ffffff", "#18181b"  # what markers and chips lie on: --surface of tokens.css
READABLE = 5.0  # contrast of small text with that; WCAG 2 asks for 4.5, a chip takes some
STEPS = 20


@cache_control(public=True, max_age=300)
def stylesheet(request: HttpRequest) -> HttpResponse:
    """Return a property `--family-NAME` and a class `.family-NAME` for each family."""
    families = registry.FAMILIES.values()
    light = " ".join(f"--family-{f.name}: {on_light(f)};" for f in families)
    dark = " ".join(f"--family-{f.name}: {on_dark(f)};" for f in families)
    rules = [
        f":root {{ {light} }}",
        f':root[data-theme="dark"] {{ {dark} }}',
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme]) {{ {dark} }} }}",
        *(f".family-{f.name} {{ color: var(--family-{f.name}); }}" for f in families),
    ]
    return HttpResponse("\n".join(rules) + "\n", content_type="text/css; charset=utf-8")


def on_light(family: Family) -> str:
    """Return the family's colour, as dark as text on a light page needs to be."""
    return _readable(family.colour, towards="#000000", on=LIGHT)


def on_dark(family: Family) -> str:
    """Return the family's colour, as light as text on a dark page needs to be."""
    return _readable(family.dark_colour or family.colour, towards="#ffffff", on=DARK)


def _readable(colour: str, *, towards: str, on: str) -> str:
    mixed = (_mix(colour, towards, step / STEPS) for step in range(STEPS + 1))
    return next(found for found in mixed if contrast(found, on) >= READABLE)


def _mix(colour: str, other: str, part: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round((1 - part) * a + part * b):02x}" for a, b in pairs)


def contrast(colour: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21.

    Web Content Accessibility Guidelines 2.2, "contrast ratio".
    """
    darker, lighter = sorted((_luminance(colour), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [c / 255 for c in _channels(colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
