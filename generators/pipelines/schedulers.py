"""The scheduler that walks from noise to image: the folder's own, or another in its place."""

from importlib import import_module
from typing import Any

from generators.pipelines.loading import LoadedPipeline
from generators.specs.options import ConfigError
from generators.specs.pipelines.options import OWN, PipelineSampler


def make_scheduler(pipeline: LoadedPipeline, sampler: PipelineSampler) -> Any:
    """Return a new scheduler with the noise levels of the folder's own.

    Raises:
        ConfigError: if it does not walk in so many steps.
    """
    own = pipeline.scheduler
    if own is None:  # parts are walked by our own sampler
        return None
    chosen = sampler.scheduler
    kind = type(own) if chosen == OWN else getattr(import_module("diffusers"), chosen)
    try:
        scheduler = kind.from_config(own.config)
    except NotImplementedError as error:
        message = f"{kind.__name__} does not walk as {type(own).__name__} is set here: {error}"
        raise ConfigError({"scheduler": message[:300]}) from error
    try:
        if not scheduler.config.get("use_dynamic_shifting"):  # its times depend on images' size
            scheduler.set_timesteps(sampler.steps)
    except (ValueError, IndexError) as error:
        message = f"{kind.__name__} does not walk in {sampler.steps} steps: {error}"
        raise ConfigError({"steps": message[:300]}) from error
    return kind.from_config(own.config)
