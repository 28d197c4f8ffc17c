"""The Inception Score, or with any other classifier's logits the classifier score (CS)."""

import math

import torch

from evaluation.specs import METRICS
from evaluation.uncertainty import (
    Features,
    MetricResult,
    as_features,
    clipped,
    normal_quantile,
    undefined,
)


def inception_score(logits: Features, *, level: float = 0.95) -> MetricResult:
    """Return exp of the mean KL(p(y|x) ‖ p(y)) of ``logits``, (N, K), over one split of all images.

    ``corrected`` adds the leading term of what the estimated marginal p(y) costs,
    Σ_y Var[p(y|x)] / p(y) / 2N on the logarithm. The interval is that of a mean, exponentiated,
    within 1..K.

    Source: Salimans et al., 2016, "Improved techniques for training GANs"; one split instead of
    ten, because the score falls with the size of a split.

    Raises:
        ValueError: if the logits are no finite (N, K).
    """
    log_p = torch.log_softmax(as_features(logits), dim=1)
    count, classes = log_p.shape
    if count < 2:
        return undefined(f"needs at least 2 images, got {count}")

    p = log_p.exp()
    marginal = p.mean(0)
    log_marginal = torch.logsumexp(log_p, dim=0) - math.log(count)
    divergence = torch.where(p > 0, p * (log_p - log_marginal), 0.0).sum(1)  # (N,), KL per image
    log_score = max(float(divergence.mean()), 0.0)  # below 0 by rounding alone
    seen = marginal > 0
    bias = float((p.var(0)[seen] / marginal[seen]).sum()) / (2 * count)
    log_error = float(divergence.std()) / count**0.5

    z = normal_quantile(level)
    low, high = METRICS["is"].minimum, float(classes)
    # The bias of balanced, certain predictions is less than the formula's, which is for chance ones.
    corrected = min(log_score + bias, math.log(classes))
    return MetricResult(
        value=math.exp(log_score),
        corrected=math.exp(corrected),
        standard_error=math.exp(corrected) * log_error,
        interval=(
            clipped(math.exp(corrected - z * log_error), low, high),
            clipped(math.exp(corrected + z * log_error), low, high),
        ),
    )
