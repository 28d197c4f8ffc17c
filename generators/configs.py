"""Earlier name of `generators.specs.options`, handed on for one version."""

import warnings

from generators.specs.options import *  # noqa: F403

warnings.warn(
    "generators.configs is generators.specs.options now", DeprecationWarning, stacklevel=2
)
