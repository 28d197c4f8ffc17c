"""Earlier name of `generators.specs.registry`, handed on for one version."""

import warnings

from generators.specs.registry import *  # noqa: F403

warnings.warn(
    "generators.registry is generators.specs.registry now", DeprecationWarning, stacklevel=2
)
