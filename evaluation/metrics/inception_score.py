"""The Inception Score, or with any other classifier's predictions the classifier score (CS)."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evaluation.metrics.uncertainty import (
    CHUNK,
    Features,
    MetricResult,
    as_rows,
    normal_quantile,
    undefined,
    within,
)
from evaluation.protocols.metrics import METRICS

SUM_TOLERANCE = 1e-3  # of the probabilities of one image, which may be float16's

MIN_IMAGES = 50  # fewer: the mean is not near enough to normal for an interval
ROUNDING = 1e-12


def inception_score(
    probabilities: Features,
    *,
    splits: int = 1,
    seed: int | None = None,  # of the order in which images fall into splits, None = as given
    level: float = 0.95,
) -> MetricResult:
    """Return exp of the mean KL(p(y|x) ‖ p(y)) of ``probabilities``, (N, K), rows of sum 1.

    With one split, ``corrected`` adds the leading term of what the estimated marginal p(y) costs,
    Σ_y Var[p(y|x)] / p(y) / 2N on the logarithm, and the interval is that of a mean, exponentiated,
    within 1..K. With more, the value is the mean of the scores of the splits, as it is often
    published; that has no interval, and ``details`` has the spread of the splits.

    Source: Salimans et al., 2016, "Improved techniques for training GANs"; one split instead of
    ten, because the score falls with the size of a split.

    Raises:
        ValueError: if they are not finite (N, K), or are not probabilities.
    """
    p = as_rows(probabilities)
    for part in p.split(CHUNK):
        _check_probabilities(part)
    return _score(p, _from_probabilities, splits=splits, seed=seed, level=level)


def inception_score_from_logits(
    logits: Features,
    *,
    splits: int = 1,
    seed: int | None = None,  # of the order in which images fall into splits, None = as given
    level: float = 0.95,
) -> MetricResult:
    """Return the same from ``logits``, (N, K), of which the softmax are the probabilities.

    Raises:
        ValueError: if the logits are not finite (N, K).
    """
    return _score(as_rows(logits), _from_logits, splits=splits, seed=seed, level=level)


@dataclass(frozen=True)
class _Predictions:
    """Class probabilities of some images and the entropy of each: (n, K) and (n,), float64."""

    p: Tensor
    entropies: Tensor


def _from_probabilities(p: Tensor) -> _Predictions:
    p = p.double()
    return _Predictions(p=p, entropies=torch.special.entr(p).sum(1))


def _from_logits(logits: Tensor) -> _Predictions:
    log_p = torch.log_softmax(logits.double(), dim=1)
    p = log_p.exp()
    return _Predictions(p=p, entropies=-(p * log_p).sum(1))


Predict = Callable[[Tensor], _Predictions]


def _score(
    x: Tensor, predict: Predict, *, splits: int, seed: int | None, level: float
) -> MetricResult:
    if splits < 1:
        raise ValueError(f"expected at least 1 split, got {splits}")
    needed = max(2, splits)
    if len(x) < needed:
        return undefined(f"needs at least {needed} images, got {len(x)}")
    if splits == 1:
        return _of_all(x, predict, level=level)
    return _of_splits(x, predict, splits=splits, seed=seed)


def _of_all(x: Tensor, predict: Predict, *, level: float) -> MetricResult:
    count, classes = x.shape
    found = _divergences(x, predict)
    log_score = max(float(found.of_images.mean()), 0.0)  # below 0 by rounding alone
    log_error = float(found.of_images.std()) / count**0.5
    # The bias of balanced, certain predictions is less than the formula's, which is for chance ones.
    corrected = min(log_score + found.bias, math.log(classes))
    z = normal_quantile(level)
    if reason := _why_no_interval(count, log_error):
        error = math.exp(corrected) * log_error
        return MetricResult(math.exp(log_score), math.exp(corrected), error, reason=reason)
    score = MetricResult(
        value=math.exp(log_score),
        corrected=math.exp(corrected),
        standard_error=math.exp(corrected) * log_error,
        interval=(math.exp(corrected - z * log_error), math.exp(corrected + z * log_error)),
    )
    return within(score, minimum=METRICS["is"].minimum, maximum=float(classes))


def _why_no_interval(count: int, log_error: float) -> str:
    if count < MIN_IMAGES:
        return f"no interval: {count} images are fewer than {MIN_IMAGES}"
    if log_error < ROUNDING:
        return "no interval: every image tells as much, so the spread is unknown"
    return ""


def _of_splits(x: Tensor, predict: Predict, *, splits: int, seed: int | None) -> MetricResult:
    count = len(x)
    if seed is not None:  # the generator of torch-fidelity, so that its splits are these
        order = np.random.RandomState(seed).permutation(count)
        x = x[torch.from_numpy(order)]
    bounds = [i * count // splits for i in range(splits + 1)]
    scores = [
        math.exp(float(_divergences(x[start:stop], predict).of_images.mean()))
        for start, stop in itertools.pairwise(bounds)
    ]
    return MetricResult(
        value=float(np.mean(scores)),
        reason="no interval: the spread of splits is not the error of their mean",
        details={"splits": splits, "split_sd": float(np.std(scores))},
    )


@dataclass(frozen=True)
class _Divergences:
    """KL(p(y|x) ‖ p(y)) ``of_images`` (n,), and the ``bias`` that its mean lacks."""

    of_images: Tensor
    bias: float


def _divergences(x: Tensor, predict: Predict) -> _Divergences:
    """Return the divergences of all rows of ``x`` from their own marginal; two passes by chunk."""
    count = len(x)
    total = sum(predict(part).p.sum(0) for part in x.split(CHUNK))
    marginal = torch.as_tensor(total) / count
    log_marginal = torch.where(marginal > 0, marginal.log(), 0.0)  # no image has such a class
    divergences, squares = [], torch.zeros_like(marginal)
    for part in x.split(CHUNK):
        found = predict(part)
        divergences.append(-found.entropies - found.p @ log_marginal)
        squares += ((found.p - marginal) ** 2).sum(0)
    seen = marginal > 0
    variances = squares[seen] / max(count - 1, 1)
    bias = float((variances / marginal[seen]).sum()) / (2 * count)
    return _Divergences(of_images=torch.cat(divergences), bias=bias)


def _check_probabilities(p: Tensor) -> None:
    if bool((p < 0).any()):
        raise ValueError(f"expected probabilities of at least 0, got {float(p.min()):g}")
    sums = p.sum(1, dtype=torch.float64)
    worst = float(sums[(sums - 1).abs().argmax()])
    if abs(worst - 1) > SUM_TOLERANCE:
        raise ValueError(f"expected probabilities that sum to 1 for each image, got {worst:g}")
