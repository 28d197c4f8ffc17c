"""Earlier name of `generators.algorithm.contract`, handed on for one version."""

import warnings

from generators.algorithm.contract import *  # noqa: F403

warnings.warn(
    "generators.base is generators.algorithm.contract now", DeprecationWarning, stacklevel=2
)
