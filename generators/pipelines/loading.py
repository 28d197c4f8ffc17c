"""Load a pipeline of diffusers whose folder was read and found to be plain data."""

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from generators.pipelines.parts import load_parts
from generators.specs.options import ConfigError
from generators.specs.pipelines.card import EXTRA, PipelineCard, PipelineError, installed
from generators.specs.pipelines.options import PipelineConfig
from generators.specs.pipelines.reading import inspect

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEFAULT = PipelineConfig()


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline, ready to draw from."""

    card: PipelineCard
    config: PipelineConfig
    device: torch.device
    pipe: Any = field(repr=False)  # diffusers' own object
    scheduler: Any = field(repr=False)  # the folder's own, which another may stand in for

    @property
    def denoiser(self) -> nn.Module:
        """Return the network whose evaluations count."""
        network: nn.Module = getattr(self.pipe, self.card.spec.denoiser)
        return network

    @property
    def checks_safety(self) -> bool:
        """Return whether images may come out black because a safety checker said so."""
        return getattr(self.pipe, "safety_checker", None) is not None


def load(
    folder: Path,
    config: PipelineConfig = DEFAULT,
    *,
    device: str = "cpu",
    digest: str | None = None,
) -> LoadedPipeline:
    """Return the pipeline of a folder: safetensors alone, no remote code, nothing from the network.

    Args:
        folder: a pipeline's, with its `model_index.json`.
        config: how it lies in memory.
        device: a torch device.
        digest: of the card that was read before; None takes the folder as it is.

    Raises:
        PipelineError: if the folder is refused, is another than it was, or a package is missing.
        ConfigError: if it cannot be loaded this way.
    """
    card = inspect(folder)
    check_loadable(card, config, device)
    if digest is not None and card.digest != digest:
        raise PipelineError(
            f"{folder}: expected the files of digest {digest[:12]}, these have {card.digest[:12]}: "
            "the folder is not what it was"
        )
    try:
        pipe = load_parts(folder, card) if card.walk else _from_folder(folder, card, config)
    except (OSError, ValueError, TypeError, RuntimeError, LookupError, AttributeError) as error:
        raise PipelineError(f"{folder}: diffusers cannot load it: {error}"[:1000]) from error
    _check_weights(card, pipe)
    _place(pipe, config, device)
    return LoadedPipeline(card, config, torch.device(device), pipe, pipe.scheduler)


def check_loadable(card: PipelineCard, config: PipelineConfig, device: str) -> None:
    """Raise PipelineError or ConfigError unless the pipeline can be loaded here, this way."""
    card.check()
    if missing := card.missing_extra():
        raise PipelineError(missing)
    if problems := config.problems(card, device):
        raise ConfigError(problems)
    if config.offload != "none" and not installed("accelerate"):
        raise PipelineError(f"offload: expected the package accelerate, not installed: {EXTRA}")


def _from_folder(folder: Path, card: PipelineCard, config: PipelineConfig) -> Any:
    has = {part.name for part in card.components}
    options: dict[str, Any] = {}
    if not config.safety_checker and "safety_checker" in has:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    if card.pipeline == "StableDiffusionXLPipeline":
        options["add_watermarker"] = False  # it would change what is scored
    variants = {part.variant for part in card.components if part.variant}
    known = import_module("diffusers")  # takes seconds, which what needs no pipeline does not wait
    pipe = getattr(known, card.pipeline).from_pretrained(
        str(folder),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        variant=min(variants, default=None),
        dtype=DTYPES[config.precision],
        **options,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _check_weights(card: PipelineCard, pipe: Any) -> None:
    """Refuse networks that found less in their files than they have: the rest would be random.

    Raises:
        PipelineError: if a component did.
    """
    for part in card.components:
        network = getattr(pipe, part.name, None)
        if part.parameters is None or network is None:
            continue
        expected = sum(parameter.numel() for parameter in network.parameters())
        if part.parameters < expected:
            raise PipelineError(
                f"{part.name}: expected {expected:,} parameters in its files, "
                f"found {part.parameters:,}"
            )


def _place(pipe: Any, config: PipelineConfig, device: str) -> None:
    if config.offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif config.offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
    if config.tiling:
        pipe.vae.enable_tiling()
