"""Earlier name of `evaluation.metrics.moments`, handed on for one version."""

import warnings

from evaluation.metrics.moments import *  # noqa: F403

warnings.warn(
    "evaluation.moments is evaluation.metrics.moments now", DeprecationWarning, stacklevel=2
)
