"""Earlier name of `generators.algorithm.noise`, handed on for one version."""

import warnings

from generators.algorithm.noise import *  # noqa: F403

warnings.warn(
    "generators.noise is generators.algorithm.noise now", DeprecationWarning, stacklevel=2
)
