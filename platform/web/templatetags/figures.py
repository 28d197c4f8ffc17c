"""Filters that write numbers; what is missing becomes a dash, never 0."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import arrow
from experiments.models import MetricValue
from experiments.pages import losses
from leaderboards import rounding
from leaderboards.rows import estimate, in_range
from web import formats

register = template.Library()


def _or_dash(write: Callable[[Any], str]) -> Callable[[Any], str]:
    def written(value: Any) -> str:
        return formats.ABSENT if value is None or value == "" else write(value)

    return written


@register.filter
def breakable(name: str) -> SafeString:
    """Return a name that may be broken behind its underscores."""
    parts = ((part,) for part in str(name).split("_"))
    return format_html_join(SafeString("_<wbr>"), "{}", parts)


for name, function in {
    "count": formats.count,
    "short_count": formats.short_count,
    "significant": formats.significant,
    "duration": formats.duration,
    "size": formats.size,
}.items():
    register.filter(name, _or_dash(function))

COSTS: dict[str, Callable[[float], str]] = {
    "images_per_second": formats.significant,
    "nfe": formats.whole,
    "parameters": formats.short_count,
    "device_seconds": formats.duration,
}


@register.filter
def cost(value: float | None, key: str) -> str:
    """Return a cost in the unit of its column."""
    return formats.ABSENT if value is None else COSTS.get(key, formats.significant)(value)


@register.filter
def when(moment: Any) -> str | SafeString:
    """Return a moment as "3 min ago" with the exact time in its title."""
    if moment is None:
        return formats.ABSENT
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        formats.ago(moment),
    )


@register.filter
def clock(moment: Any) -> str | SafeString:
    """Return a moment as a time of day with the date in its title."""
    if moment is None:
        return formats.ABSENT
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment:%Y-%m-%d %H:%M:%S} UTC",
        f"{moment:%b %d %H:%M:%S}",
    )


@register.filter
def label_of(protocol: Any, metric: str) -> str:
    """Return the only name under which a metric of this protocol may be shown."""
    return str(protocol.metric_label(metric))


@register.filter
def metric_of(protocol: Any, name: str) -> Any:
    """Return what is known of a metric of this protocol."""
    return protocol.metric(name)


@register.filter
def arrow_of(spec: MetricSpec) -> str:
    return arrow(spec)


@dataclass(frozen=True)
class _Shown:
    """A metric value as a board shows it: the corrected estimate within its interval."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: MetricValue, spec: MetricSpec) -> "_Shown":
        if value.value is None or not math.isfinite(estimate(value)):
            return cls(None)
        return cls(*in_range(spec, estimate(value), value.low, value.high))


@register.filter
def value_text(value: MetricValue, spec: MetricSpec) -> str:
    """Return the number that a board shows of a value of this metric."""
    figure = _Shown.of(value, spec)
    if figure.value is None:
        return formats.ABSENT
    return rounding.number(figure.value, rounding.decimals([figure], counts=spec.counts))


@register.filter
def value_spread(value: MetricValue, spec: MetricSpec) -> str:
    figure = _Shown.of(value, spec)
    return rounding.spread(figure, rounding.decimals([figure]))


@register.filter
def spaced(name: str) -> str:
    """Return the name of a field as people write it."""
    return name.replace("_", " ")


@register.filter
def loss_words(name: str) -> str:
    return losses.words_of(name)


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


@register.filter
def value_raw(value: MetricValue, spec: MetricSpec) -> str:
    """Return the exact number that `value_text` rounds, empty if there is none."""
    shown = _Shown.of(value, spec)
    return "" if shown.value is None else repr(shown.value)
