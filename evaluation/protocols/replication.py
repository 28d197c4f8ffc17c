"""How surely copies are told from chance: exact and normal p-values, in plain Python.

Results under several seeds share training and held-out images; each p-value pools them.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean


def copies_p_value(below: int, generated: int, held_out: int, rank: int) -> float:
    """Return the chance that so many generated images lie so near if none of them is a copy.

    ``below``: how many of ``generated`` images are strictly nearer to a training image than the
    ``rank``-th nearest of ``held_out`` ones. Over seeds, ``below`` and
    ``generated`` are sums. If generated and held-out images are exchangeable, given the training
    images, the nearest ``below + rank - 1`` of both hold at least ``below`` generated ones
    with the hypergeometric probability that is returned: exact, whatever nearness is; ties only
    make it larger than it need be.

    Source: the negative hypergeometric distribution of exceedances, Gumbel and von Schelling, 1950,
    "The distribution of the number of exceedances".

    Raises:
        ValueError: unless 0 <= below <= generated and 1 <= rank <= held_out.
    """
    if not (0 <= below <= generated and 1 <= rank <= held_out):
        raise ValueError(
            f"expected 0 <= below <= generated and 1 <= rank <= held-out, got {below} of "
            f"{generated} and {rank} of {held_out}"
        )
    drawn = below + rank - 1
    whole = _log_choose(generated + held_out, drawn)
    # Of the drawn, `late` are held-out; each term is one such number.
    terms = (
        math.exp(_log_choose(generated, drawn - late) + _log_choose(held_out, late) - whole)
        for late in range(max(0, drawn - generated), rank)
    )
    return min(1.0, math.fsum(terms))


def _log_choose(count: int, size: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(size + 1) - math.lgamma(count - size + 1)


def nearness_p_value(
    scores: Sequence[float], from_generated: Sequence[float], from_held_out: Sequence[float]
) -> float:
    """Return the chance of a mean C_T as low as this if no generated image is a copy.

    One score of each seed, with the parts of its variance under this hypothesis that come from the
    generated and from the held-out images (``details`` of the result). The generated images of the
    seeds are different ones, so that their part shrinks with the number of seeds; the held-out
    images are the same, so that theirs stays.

    Raises:
        ValueError: unless there are as many of each, at least one, and variances above 0.
    """
    seeds = len(scores)
    if not seeds == len(from_generated) == len(from_held_out) != 0:
        raise ValueError("expected as many scores as variances of either side, and at least one")
    if min(*from_generated, *from_held_out) <= 0:
        raise ValueError("expected variances above 0")
    spread = fmean(math.sqrt(variance) for variance in from_held_out)
    variance = fmean(from_generated) / seeds + spread**2
    return NormalDist().cdf(fmean(scores) / math.sqrt(variance))
