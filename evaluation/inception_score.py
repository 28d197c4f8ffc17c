"""Earlier name of `evaluation.metrics.inception_score`, handed on for one version."""

import warnings

from evaluation.metrics.inception_score import *  # noqa: F403

warnings.warn(
    "evaluation.inception_score is evaluation.metrics.inception_score now",
    DeprecationWarning,
    stacklevel=2,
)
