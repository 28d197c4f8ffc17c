"""CLIPScore: how near images and their prompts lie in the space of a CLIP-like model."""

import math

import numpy as np
import numpy.typing as npt

from evaluation.metrics.uncertainty import MetricResult, student_quantile, within

SCALE = 100.0

Vectors = npt.NDArray[np.float64]


def clip_scores(images: Vectors, texts: Vectors) -> Vectors:
    """Return 100 max(cos, 0) of every image with every text, (N, P), of unit vectors (N, D), (P, D).

    Source: Hessel et al., 2021, "CLIPScore: a reference-free evaluation metric for image
    captioning", section 3; deviation: w = 100, as torchmetrics has it, instead of 2.5, and the text
    as it is, without "A photo depicts" before it. Torchmetrics clips the mean, this each image.
    """
    scores: Vectors = SCALE * np.clip(images @ texts.T, 0.0, 1.0)
    return scores


def mean_agreement(scores: Vectors, prompts: int, *, level: float = 0.95) -> MetricResult:
    """Return the mean of the scores of images with their own prompts.

    scores: (N,), image i is of prompt i mod ``prompts``. The standard error is for other images of
    the same prompts: of the variance within each prompt; where a prompt has one image, of all
    images, which errs on the wide side.
    """
    count, value = len(scores), float(scores.mean())
    if count < 2:
        return MetricResult(value=value, reason="no interval of a single image")
    error, degrees = _error(scores, prompts)
    arm = student_quantile(level, degrees_of_freedom=degrees) * error
    found = MetricResult(value=value, standard_error=error, interval=(value - arm, value + arm))
    return within(found, minimum=0.0, maximum=SCALE)


def _error(scores: Vectors, prompts: int) -> tuple[float, int]:
    """Return the standard error of the mean, and its degrees of freedom."""
    each = len(scores) // prompts
    if each < 2:
        return float(scores.std(ddof=1)) / math.sqrt(len(scores)), len(scores) - 1
    by_prompt = scores[: each * prompts].reshape(each, prompts)  # (images of a prompt, prompts)
    variance = by_prompt.var(axis=0, ddof=1).mean() / (each * prompts)
    return math.sqrt(float(variance)), prompts * (each - 1)
