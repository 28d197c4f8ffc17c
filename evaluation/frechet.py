"""Earlier name of `evaluation.metrics.frechet`, handed on for one version."""

import warnings

from evaluation.metrics.frechet import *  # noqa: F403

warnings.warn(
    "evaluation.frechet is evaluation.metrics.frechet now", DeprecationWarning, stacklevel=2
)
