"""How often boards accuse unseen real images: MNIST, pixels on 64 components, sets of 1,000.

`pytest tests/benchmarks/judgements/test_marks.py` takes about five minutes and prints the rates.
"""

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from evaluation.features.base import extract
from evaluation.features.pixels import PixelExtractor
from evaluation.imagesets.in_memory import read_images
from evaluation.metrics.frechet import measure_frechet, reference_gaussian
from evaluation.metrics.pairwise import Kernel, Neighbours, measure_pairs
from evaluation.metrics.uncertainty import MetricResult
from experiments.models import Entry
from leaderboards.board import Cell, Column, Row
from leaderboards.marks import LEVEL
from leaderboards.ranking import verdicts
from leaderboards.statistics.spread import Seed
from tests.benchmarks.judgements.test_copies import MNIST
from tests.leaderboards.simulation import most

BOARDS, ROWS, IMAGES, REFERENCE = 20, 10, 1000, 5000
KEYS = ("fd", "kd", "authenticity")


def test_disjoint_real_sets_are_seldom_accused(report: Callable[[str], None]) -> None:
    real, unseen = features()
    columns = tuple(Column(key, key, "", key == "authenticity", "quality", "") for key in KEYS)
    rng = np.random.default_rng(0)
    accused_boards = accused_rows = 0
    for _ in range(BOARDS):
        sets = rng.permutation(len(unseen))[: ROWS * IMAGES].reshape(ROWS, IMAGES)
        control, *others = [row(measured(real, unseen[each])) for each in sets]
        found = verdicts([Real(**vars(control)), *others], columns)
        signs = [any(v.beats_control or v.near_training for v in each.values()) for each in found]
        accused_boards += any(signs)
        accused_rows += sum(signs)

    count = BOARDS * (ROWS - 1)
    report(f"accused: {accused_boards} of {BOARDS} boards, {accused_rows} of {count} real sets")
    assert accused_boards <= BOARDS * most(LEVEL, BOARDS)


class Real(Row):
    """A row that is the control."""

    @property
    def is_real(self) -> bool:
        return True


def features() -> tuple[Tensor, Tensor]:
    """Return those of the reference and of unseen images."""
    if not MNIST.exists():
        pytest.skip("no mnist.zip in ../shared/data")
    reference = read_images(MNIST, part="train").pixels[:: 60000 // REFERENCE]
    extractor = PixelExtractor(reference)
    unseen = read_images(MNIST, part="test").pixels
    return extract(extractor, reference).features, extract(extractor, unseen).features


def measured(real: Tensor, generated: Tensor) -> dict[str, MetricResult]:
    found = measure_pairs(real, generated, kernel=Kernel(), neighbours=Neighbours(k=3))
    return found | {"fd": measure_frechet(generated, reference_gaussian(real))}


def row(values: dict[str, MetricResult]) -> Row:
    cells = {}
    for key in KEYS:
        estimate = values[key].estimate
        assert estimate is not None, "real images have all values"
        cells[key] = Cell(estimate, seeds=(Seed(estimate, values[key].standard_error),))
    return Row(Entry(kind=Entry.Kind.GENERATOR), "direct", 1, 1, 0, cells, ())
