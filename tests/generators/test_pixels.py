"""The one rounding rule."""

import torch
from hypothesis import given, strategies as st

from generators.algorithm.pixels import to_float, to_uint8


def test_every_grey_level_survives_the_way_to_float_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)

    as_float = to_float(levels)

    assert as_float.min() == -1 and as_float.max() == 1
    assert torch.equal(to_uint8(as_float), levels)


@given(st.floats(-100, 100))
def test_any_number_becomes_the_nearest_level_within_range(x: float) -> None:
    level = int(to_uint8(torch.tensor([x], dtype=torch.float64))[0])

    assert abs(level - min(max(x * 127.5 + 127.5, 0), 255)) <= 0.51
