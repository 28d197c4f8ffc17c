"""Numbers, times and sizes as people read them."""

from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import given, strategies as st

from evaluation.protocols.metrics import METRICS
from experiments.models import MetricValue
from web import formats
from web.templatetags import figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1.25, "1.2 s"),
        (12.4, "12 s"),
        (59.96, "60 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (1_234_567, "1.23 M"), (2.5e9, "2.50 B")],
)
def test_a_short_count_has_three_digits(number: float, text: str) -> None:
    assert formats.short_count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (1.0, "1.00"),
        (999.6, "1,000"),
        (12345.0, "12,300"),
        (-2.5, "−2.50"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_significant_digits_are_kept_without_an_exponent(number: float, text: str) -> None:
    assert formats.significant(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (512, "512 B"), (1536, "1.50 KiB"), (2**33, "8.00 GiB")]
)
def test_bytes_are_binary(number: float, text: str) -> None:
    assert formats.size(number) == text


@pytest.mark.parametrize(("number", "text"), [(50.0, "50"), (1000, "1,000"), (1.5, "1.50")])
def test_a_mean_of_counts_is_whole_where_it_can_be(number: float, text: str) -> None:
    assert formats.whole(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (30, "30 s ago"), (90, "1 min ago"), (7300, "2 h ago"), (-130, "in 2 min")],
)
def test_a_moment_is_told_from_now(seconds: float, text: str) -> None:
    assert formats.ago(timezone.now() - timedelta(seconds=seconds)) == text


@given(st.floats(0, 1e12))
def test_every_amount_can_be_written(number: float) -> None:
    for write in (formats.duration, formats.short_count, formats.significant, formats.size):
        assert "e" not in write(number).replace("PiB", "")


@pytest.mark.parametrize("name", ["count", "short_count", "significant", "duration", "size"])
def test_what_is_missing_is_a_dash_and_zero_is_not(name: str) -> None:
    write = figures.register.filters[name]

    assert write(None) == "–"
    assert write(0) != "–"


@pytest.mark.parametrize(
    ("value", "text", "spread"),
    [
        (MetricValue(value=12.9, bias_corrected=12.34, low=11.82, high=12.86), "12.3", "± 0.5"),
        (MetricValue(value=0.99, low=0.95, high=1.0), "0.99", "[0.95, 1.00]"),
        (MetricValue(value=12.3456), "12.3", ""),
        (MetricValue(value=None, reason="too few images"), "–", ""),
        (MetricValue(value=float("inf")), "–", ""),
    ],
)
def test_a_metric_value_is_written_as_on_a_board(
    value: MetricValue, text: str, spread: str
) -> None:
    assert figures.value_text(value, METRICS["fd"]) == text
    assert figures.value_spread(value, METRICS["fd"]) == spread
