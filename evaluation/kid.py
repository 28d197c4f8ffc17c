"""Earlier name of `evaluation.metrics.kernel_distance`, handed on for one version."""

import warnings

from evaluation.metrics.kernel_distance import *  # noqa: F403

warnings.warn(
    "evaluation.kid is evaluation.metrics.kernel_distance now", DeprecationWarning, stacklevel=2
)
