"""How much of an image is left at each time of the forward process that an algorithm defines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from generators.algorithm.contract import Undefined
from generators.specs.diffusion_configs import DDPMConfig, FlowConfig, LevelsConfig
from generators.specs.options import TrainingConfig
from generators.trained.sampling import LoadedGenerator


@dataclass(frozen=True)
class NoiseLevel:
    """One time of the forward process x_t = signal x_0 + noise epsilon."""

    time: float  # 0 (clean) to 1 (the noise that sampling begins with)
    signal: float
    noise: float

    @property
    def alpha_bar(self) -> float:
        """Return the signal's part of the variance, of images whose variance is 1.

        Of a variance-preserving path it is its own alpha_bar (Ho et al., 2020, eq. 4); another
        path has that of the variance-preserving one with the same signal-to-noise ratio.
        """
        return self.signal**2 / (self.signal**2 + self.noise**2)

    @property
    def snr_db(self) -> float:
        """Return 10 log10(signal^2 / noise^2), in decibels; infinite at either end.

        Kingma et al., 2021, "Variational diffusion models", eq. 2.
        """
        if not self.noise or not self.signal:
            return math.inf if self.signal else -math.inf
        return 20 * (math.log10(self.signal) - math.log10(self.noise))


def noise_levels(generator: LoadedGenerator, times: Sequence[float]) -> list[NoiseLevel]:
    """Return the levels of noise that `inspection.add_noise` reaches at each time, 0 to 1.

    Raises:
        Undefined: if the algorithm has no forward process.
        ValueError: if a time is not in 0..1.
    """
    if wrong := [time for time in times if not 0 <= time <= 1]:
        raise ValueError(f"expected times in 0..1, got {', '.join(f'{t:g}' for t in wrong)}")
    return [NoiseLevel(time, *generator.model.signal_and_noise_at(time)) for time in times]


def time_unit(config: TrainingConfig) -> str:
    """Return what the paper of an algorithm calls the time of a step; "" where we know none.

    It is a timestep (0 to T - 1), the noise level sigma, or t (0 is clean, 1 noise).
    """
    if isinstance(config, DDPMConfig):
        return "timestep"
    if isinstance(config, LevelsConfig):
        return "sigma"
    return "t" if isinstance(config, FlowConfig) else ""


def level_of_step(generator: LoadedGenerator, time: float) -> NoiseLevel:
    """Return the level of noise that a sampler's step begins at.

    Args:
        generator: of an algorithm with a forward process.
        time: as `Step` has it, in the unit of `time_unit`.

    Raises:
        Undefined: if the algorithm's steps have no unit that we know.
    """
    config = generator.config
    if isinstance(config, DDPMConfig):
        part = (time + 1) / config.timesteps
        return NoiseLevel(part, *generator.model.signal_and_noise_at(part))
    if isinstance(config, LevelsConfig):
        return NoiseLevel(time / config.sigma_max, 1.0, time)
    if isinstance(config, FlowConfig):
        return NoiseLevel(time, 1 - time, time)
    raise Undefined(f"steps of {generator.algorithm} have no level of noise")
