"""What a package needs to describe an algorithm of its own; none of it loads torch."""

from generators.specs.algorithms import (
    PRESETS as PRESETS,
    AlgorithmSpec as AlgorithmSpec,
    Family as Family,
    Preset as Preset,
    SpecError as SpecError,
    samplers_by_name as samplers_by_name,
)
from generators.specs.options import (
    ConfigError as ConfigError,
    DirectSampler as DirectSampler,
    SamplerConfig as SamplerConfig,
    TrainingConfig as TrainingConfig,
    option as option,
)
