"""The Vendi score within prompts: how many different images one prompt effectively gets."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from evaluation.metrics.jackknife import jackknifed
from evaluation.metrics.uncertainty import Features, MetricResult, as_rows, undefined
from evaluation.metrics.vendi import vendi_score


def vendi_within_prompts(
    features: Features,
    prompts: int,
    *,
    level: float = 0.95,
    keep_going: Callable[[], None] = lambda: None,
) -> MetricResult:
    """Return the mean over prompts of the Vendi score of the images of each.

    features: (N, D), image i is of prompt i mod ``prompts``. The score of n images is at most n and
    grows with n: only equal numbers compare. The interval is for other images of the same prompts
    and for as many, by a jackknife that leaves out one image of every prompt at a time.

    Source: Friedman & Dieng, 2023, "The Vendi score", eq. 1, as `vendi_score`.

    Raises:
        ValueError: if the features are not finite (N, D), or not as many for each prompt.
    """
    rows = as_rows(features)
    if prompts < 1 or len(rows) % prompts:
        raise ValueError(f"expected as many images for each of {prompts} prompts, got {len(rows)}")
    each = len(rows) // prompts
    if each < 2:
        return undefined(f"needs at least 2 images of each prompt, got {each}")
    by_turn = rows.view(each, prompts, -1)  # (images of a prompt, prompts, D)
    whole = _mean_score(by_turn)
    if isinstance(whole, MetricResult):
        return whole
    left_out = []
    for turn in range(each):
        keep_going()
        kept = [index for index in range(each) if index != turn]
        without = _mean_score(by_turn[kept])
        assert isinstance(without, float), "no image points nowhere"
        left_out.append(without)
    found = jackknifed(
        whole, np.array(left_out), level=level, corrected=whole, minimum=1.0, maximum=float(each)
    )
    return replace(found, corrected=None, details={"prompts": prompts, "images_per_prompt": each})


def _mean_score(by_turn: Tensor) -> float | MetricResult:
    """Return the mean score, or the result of a prompt that has none."""
    scores = [vendi_score(by_turn[:, prompt]) for prompt in range(by_turn.shape[1])]
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        return next(score for score in scores if score.value is None)
    return float(np.mean(values))
