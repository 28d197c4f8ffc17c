"""The p-values of copies: the hypergeometric tail, and a normal one for nearness over seeds."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import hypergeom, norm

from evaluation.protocols.replication import copies_p_value, nearness_p_value


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_p_value_of_copies_is_the_hypergeometric_tail(data: st.DataObject) -> None:
    generated = data.draw(st.integers(1, 60_000))
    held_out = data.draw(st.integers(1, 10_000))
    rank = data.draw(st.integers(1, max(1, held_out // 50)))
    below = data.draw(st.integers(0, min(generated, 2000)))

    p = copies_p_value(below, generated, held_out, rank)

    drawn = below + rank - 1
    expected = hypergeom.sf(below - 1, generated + held_out, generated, drawn)
    assert p == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_it_is_the_share_of_all_orders_in_which_so_many_come_first() -> None:
    generated, held_out, rank = 5, 4, 2
    orders = list(combinations(range(generated + held_out), held_out))  # places of the held-out

    for below in range(generated + 1):
        share = np.mean([order[rank - 1] - (rank - 1) >= below for order in orders])
        assert copies_p_value(below, generated, held_out, rank) == pytest.approx(share)


def test_nothing_below_is_no_evidence_and_all_below_is_much() -> None:
    assert copies_p_value(0, 1000, 1000, 10) == 1
    assert copies_p_value(1000, 1000, 1000, 10) < 1e-200
    assert copies_p_value(30, 1000, 1000, 10) > copies_p_value(90, 3000, 1000, 10)


@pytest.mark.parametrize(
    "numbers", [(-1, 10, 10, 1), (11, 10, 10, 1), (1, 10, 10, 0), (1, 10, 10, 11)]
)
def test_numbers_that_cannot_be_are_refused(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= below <= generated and 1 <= rank"):
        copies_p_value(*numbers)


def test_nearness_of_one_seed_is_a_normal_variable_of_its_own_deviation() -> None:
    assert nearness_p_value([-1.0], [0.2], [0.14]) == pytest.approx(norm.cdf(-1 / 0.34**0.5))


def test_more_seeds_share_their_held_out_images() -> None:
    p = nearness_p_value([-1.0, -1.2], [0.2, 0.2], [0.14, 0.14])

    assert p == pytest.approx(norm.cdf(-1.1 / (0.2 / 2 + 0.14) ** 0.5))
    assert p < nearness_p_value([-1.1], [0.2], [0.14])


@pytest.mark.parametrize("parts", [([], [], []), ([1.0], [0.2], []), ([1.0], [0.0], [0.2])])
def test_nearness_without_variances_is_refused(parts: tuple[list[float], ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        nearness_p_value(*parts)


def test_neither_needs_numpy() -> None:
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['scipy'] = None\n"
        "from evaluation.protocols.replication import copies_p_value\n"
        "print(round(copies_p_value(1, 1, 1, 1), 9))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (answer.stdout, answer.stderr) == ("0.5\n", "")
