"""Earlier name of `evaluation.metrics.neighbours`, handed on for one version."""

import warnings

from evaluation.metrics.neighbours import *  # noqa: F403

warnings.warn(
    "evaluation.neighbours is evaluation.metrics.neighbours now", DeprecationWarning, stacklevel=2
)
