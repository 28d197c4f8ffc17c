"""How a pipeline is loaded and drawn from, as forms and `--set` describe it (torch-free)."""

from dataclasses import dataclass, replace
from typing import ClassVar

from generators.specs.options import ConfigError, SamplerConfig, named, option
from generators.specs.pipelines.card import PipelineCard
from generators.specs.pipelines.classes import DISCRETE, EDM, FLOW, SCHEDULERS, UNTOLD
from generators.specs.pipelines.parts import walk_of

OWN = "own"  # what the folder has
CLEAN_AT_ONCE = "PixArtAlphaPipeline"  # in one step, as it was distilled for
PNDM, WARM_UP = "PNDMScheduler", 4  # which begins with so many steps, unless it is set otherwise
DIT_CLASSES = 1000  # the row after them stands for none, in diffusers' DiTPipeline


@dataclass(frozen=True)
class PipelineConfig:
    """How a pipeline lies in memory: it changes what drawing costs, and images by rounding."""

    precision: str = option(
        "float32",
        "of weights and of what is computed with them",
        choices=("float32", "bfloat16", "float16"),
    )
    safety_checker: bool = option(
        True, "keep the pipeline's safety checker, if it has one: it blackens images"
    )
    offload: str = option(
        "none",
        "keep components in the computer's memory while they wait: whole ones (model), or layer by "
        "layer (sequential); for a GPU with little memory",
        choices=("none", "model", "sequential"),
    )
    tiling: bool = option(False, "decode images tile by tile: less memory, seams may show")

    def problems(self, card: PipelineCard, device: str) -> dict[str, str]:
        """Return why a pipeline cannot be loaded this way: option to what was expected of it."""
        if card.walk:
            return self._parts_problems(card)
        on_gpu, found = device.partition(":")[0] == "cuda", {}
        if self.precision == "float16" and not on_gpu:
            found["precision"] = "expected float32 or bfloat16: float16 needs a GPU"
        elif self.precision != "float32" and not card.spec.halves:
            found["precision"] = f"expected float32: {card.pipeline} draws in nothing else"
        if self.offload != "none" and not on_gpu:
            found["offload"] = f"expected none: there is no GPU to take from, but {device}"
        if self.tiling and "vae" not in card.spec.components:
            found["tiling"] = f"expected off: {card.pipeline} decodes nothing"
        return found

    def _parts_problems(self, card: PipelineCard) -> dict[str, str]:
        """Return what differs from how our own models are drawn from."""
        wanted = {"precision": "float32", "offload": "none", "tiling": False}
        return {
            name: f"expected {'off' if value is False else value}: {card.pipeline} is drawn from "
            "as where it was trained"
            for name, value in wanted.items()
            if getattr(self, name) != value
        }


@dataclass(frozen=True)
class PipelineSampler(SamplerConfig):
    """How images are drawn from a pipeline."""

    name: ClassVar[str] = "pipeline"
    scheduler: str = option(
        OWN, "class of diffusers that walks from noise to image", choices=(OWN, *SCHEDULERS)
    )
    steps: int = option(
        0, "steps of the scheduler (0 = the pipeline's own number)", minimum=0, maximum=10000
    )
    guidance: float = option(
        0.0, "guidance scale (0 = the pipeline's own, 1 = off)", minimum=0, maximum=100
    )
    width: int = option(0, "pixels (0 = the pipeline's own)", minimum=0, maximum=8192)
    height: int = option(0, "pixels (0 = the pipeline's own)", minimum=0, maximum=8192)
    negative_prompt: str = option("", "what images are not to show, for pipelines of text")
    long_prompts: str = option(
        "refuse",
        "of prompts that are longer than the text encoder reads: refuse them, or cut them off",
        choices=("refuse", "cut"),
    )

    def label(self) -> str:
        """Return the scheduler, its steps, a size, the guidance and what is not wanted: `DDIM 20 w=7.5`."""
        name = self.scheduler.removesuffix("Scheduler").removesuffix("Discrete")
        size = [f"{self.width}x{self.height}"] if self.width and self.height else []
        guidance = named("w", self.guidance, 0)
        without = [f"not {self.negative_prompt[:20]!r}"] if self.negative_prompt else []
        steps = [str(self.steps)] if self.steps else []
        return " ".join([name, *steps, *size, *guidance, *without])


def completed(sampler: PipelineSampler, card: PipelineCard) -> PipelineSampler:
    """Return a sampler with the pipeline's own numbers where it says none.

    Raises:
        ConfigError: if the pipeline cannot be sampled this way; each option with what was expected.
    """
    spec = card.spec
    steps = sampler.steps or card.call.get("num_inference_steps") or spec.steps
    whole = replace(
        sampler,
        steps=steps if sampler.steps else min(steps, card.timesteps or steps),
        guidance=sampler.guidance or spec.guidance,
        width=sampler.width or card.width or 0,
        height=sampler.height or card.height or 0,
    )
    if problems := _problems(whole, sampler, card):
        raise ConfigError(problems)
    return whole


def _problems(whole: PipelineSampler, asked: PipelineSampler, card: PipelineCard) -> dict[str, str]:
    """Return what is wrong: option to what was expected of it."""
    found = {**_walk_problems(whole, card), **_size_problems(asked, card)}
    spec, name = card.spec, card.pipeline
    if asked.guidance not in (0, 1) and not spec.guidance:
        found["guidance"] = f"expected 1: {name} knows no guidance"
    elif name == "DiTPipeline" and whole.guidance > 1 and card.num_classes != DIT_CLASSES:
        found["guidance"] = f"expected 1: {name} guides models of {DIT_CLASSES:,} classes"
    if asked.negative_prompt and not spec.negative:
        found["negative_prompt"] = f"expected none: {name} takes none"
    elif asked.negative_prompt and whole.guidance <= 1:
        found["negative_prompt"] = "expected none: without guidance nothing is held against it"
    return found


def _walk_problems(whole: PipelineSampler, card: PipelineCard) -> dict[str, str]:
    found, others = {}, _schedulers(card)
    if whole.scheduler not in (OWN, *others):
        among = f"{OWN} or one of {', '.join(others)}" if others else OWN
        found["scheduler"] = f"expected {among} for {card.pipeline}, got {whole.scheduler}"
    fixed = card.call.get("num_inference_steps") if card.call.get("steps_fixed") else None
    if fixed is not None and whole.steps != fixed:
        found["steps"] = f"expected {fixed}, which the folder is made for; got {whole.steps}"
    elif card.timesteps is not None and whole.steps > card.timesteps:
        found["steps"] = f"expected at most the schedule's {card.timesteps:,}, got {whole.steps:,}"
    elif whole.steps < (fewest := _fewest(whole, card))[0]:
        found["steps"] = "expected at least {}: {}; got {}".format(*fewest, whole.steps)
    elif card.walk and not found:
        found |= _step_problems(whole, card)
    return found


def _fewest(whole: PipelineSampler, card: PipelineCard) -> tuple[int, str]:
    """Return how many steps are the fewest that can be walked, and why."""
    chosen = _own_scheduler(card) if whole.scheduler == OWN else whole.scheduler
    if chosen == PNDM and not card.skips_warm_up:
        return WARM_UP, f"{PNDM} begins with so many steps of Runge-Kutta, as the folder sets it"
    if chosen in UNTOLD and card.pipeline == CLEAN_AT_ONCE:
        return (
            2,
            f"{card.pipeline} ends a single step at the clean image, which {chosen} does not tell",
        )
    return 1, ""


def _own_scheduler(card: PipelineCard) -> str:
    return next((part.class_name for part in card.components if part.name == "scheduler"), "")


def _step_problems(whole: PipelineSampler, card: PipelineCard) -> dict[str, str]:
    try:
        walk_of(card, whole.steps)
    except ConfigError as error:
        return error.errors
    return {}


def _size_problems(asked: PipelineSampler, card: PipelineCard) -> dict[str, str]:
    found = {}
    for side, own in (("width", card.width), ("height", card.height)):
        given = getattr(asked, side)
        if given and given != own and not card.spec.sized:
            found[side] = f"expected {own}, the only one of {card.pipeline}; got {given}"
        elif given % 8 and given != own:
            found[side] = f"expected a multiple of 8, got {given}"
    return found


def _schedulers(card: PipelineCard) -> tuple[str, ...]:
    """Return what may take the place of the folder's own scheduler, which an export relies on.

    One of another kind would ask the network with inputs that it was not trained on.
    """
    own = _own_scheduler(card)
    if card.call or own in EDM:
        return () if card.call else EDM
    others = FLOW if own in FLOW else DISCRETE if own in DISCRETE else (own,)
    return tuple(name for name in card.spec.schedulers if name in others)
