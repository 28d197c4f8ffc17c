"""Which numbers speak of copies: tests against unseen real images, one error for a whole board.

A mark says that a set of images is nearer to the reference (†), or to single training images (‡),
than unseen real images are. It accuses, so it is a test: one-sided, of the difference to the
control, with the images' errors of both sides; or of the images themselves beside held-out ones,
which is what counts of copies and C_T are. Over seeds the errors are those of the mean of the
sets that were drawn, so that more seeds find more; how much trainings differ is another question.
Of all tests of a board, the probability that any accuses wrongly is at most 5 % (Holm, 1979, "A
simple sequentially rejective multiple test procedure").
"""

import math
from collections.abc import Sequence

from evaluation.protocols.replication import copies_p_value, nearness_p_value
from leaderboards.board import Cell, Column
from leaderboards.statistics.quantiles import below
from leaderboards.statistics.spread import DEGREES_OF_IMAGES

LEVEL = 0.05
NEARER = "nearer to the reference than unseen real images are"
NEAR_TRAINING = "nearer to single training images than unseen real images are"
DISTANCES = ("fd", "kd")  # metrics that say how far from the reference a sample set is
AUTHENTICITY = "authenticity"  # share of images that are no nearer to a training image than usual
COPIES = "copies"  # share of images nearer to a training image than nearly all held-out ones are
LEAST_COPIES = 0.04  # images of a single class, none of them a copy, may count 2.5 %
NEARNESS = "ct"  # how much nearer to training images than held-out ones are
DETAILED = (COPIES, NEARNESS)  # whose tests need more than a value and its errors
TESTED = (*DISTANCES, AUTHENTICITY, *DETAILED)

Place = tuple[int, str]  # of a cell: its row, its column's key


def p_values(column: Column, cells: Sequence[Cell], control: int) -> dict[Place, float]:
    """Return those of a column's cells that may speak of copies; one of them is the real control's."""
    if column.key not in TESTED:
        return {}
    found: dict[Place, float] = {}
    variance = _variance(cells[control])
    for at, cell in enumerate(cells):
        p = _p_value(column, cell, cells[control], variance)
        if p is not None and at != control:
            found[at, column.key] = p
    return found


def rejected(tests: dict[Place, float]) -> set[Place]:
    """Return the places whose hypotheses Holm's method rejects, given their p-values."""
    found: set[Place] = set()
    few = [(p, place) for place, p in tests.items() if p <= LEVEL]  # no other is, whatever it is
    for done, (p, place) in enumerate(sorted(few)):
        if p > LEVEL / (len(tests) - done):
            break
        found.add(place)
    return found


def _p_value(column: Column, cell: Cell, control: Cell, variance: float | None) -> float | None:
    """Return the probability of such a value of unseen real images; None if untested.

    ``variance`` is that of the control. What is above 0.5 may be 1.0: nothing hangs on it.
    """
    if column.key not in DETAILED:
        return _of_difference(cell, control, variance)
    if cell.details:
        try:
            return _of_counts(cell) if column.key == COPIES else _of_scores(cell)
        except (KeyError, ValueError):  # of an earlier version, which kept less; or no variance
            return None
    return None


def _of_counts(cell: Cell) -> float:
    """Return the exact p-value of so many images that lie nearer than held-out ones do."""
    first = cell.details[0]
    if cell.value is None or cell.value < LEAST_COPIES:
        return 1.0
    return copies_p_value(
        sum(each["below"] for each in cell.details),
        sum(each["generated"] for each in cell.details),
        first["held_out"],
        first["rank"],
    )


def _of_scores(cell: Cell) -> float:
    """Return the p-value of such a C_T, whose held-out images are the same for all seeds."""
    return nearness_p_value(
        [seed.value for seed in cell.seeds],
        [each["null_variance_generated"] for each in cell.details],
        [each["null_variance_held_out"] for each in cell.details],
    )


def _of_difference(cell: Cell, control: Cell, theirs: float | None) -> float | None:
    """Return the p-value of a value below the control's, by Welch's test of the images' errors."""
    ours = _variance(cell)
    if cell.value is None or control.value is None or ours is None or theirs is None:
        return None
    difference = cell.value - control.value
    total = ours + theirs
    if total == 0:
        return 0.0 if difference < 0 else 1.0
    if not math.isfinite(total):
        return None
    if difference >= 0:
        return 1.0
    degrees = total**2 / (
        ours**2 / (DEGREES_OF_IMAGES * len(cell.seeds))
        + theirs**2 / (DEGREES_OF_IMAGES * len(control.seeds))
    )
    return below(difference / math.sqrt(total), int(degrees))


def _variance(cell: Cell) -> float | None:
    """Return that of the mean over the sets that were drawn, by their images; None if unknown."""
    squares = [error**2 for _, error in cell.seeds if error is not None]
    if not squares or len(squares) < len(cell.seeds):
        return None
    return sum(squares) / len(squares) ** 2
