"""What only a GPU shows of pipelines: float16, peak memory, offload, and too little memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from generators.pipelines.drawing import PipelineSamples, draw_all
from generators.pipelines.loading import load
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler
from tests import gpu

pytestmark = [*gpu.MARKS, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SEEDS = range(8)
CAPTIONS = ["a red circle"] * len(SEEDS)
DEVICE = "cuda"


@pytest.fixture
def small_device() -> Iterator[None]:
    """Let this process have a hundredth of the device's memory."""
    torch.cuda.set_per_process_memory_fraction(0.01)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def drawn(folder: Path, **config: str) -> PipelineSamples:
    pipeline = load(folder, PipelineConfig(**config), device=DEVICE)  # type: ignore[arg-type]
    return draw_all(
        pipeline, PipelineSampler(steps=2), seeds=SEEDS, captions=CAPTIONS, batch_size=4
    )


def test_half_precision_draws_nearly_the_same_and_says_its_peak(
    folder_of: Callable[[str], Path],
) -> None:
    whole = drawn(folder_of("stable_diffusion"))
    half = drawn(folder_of("stable_diffusion"), precision="float16")

    assert whole.stats.peak_memory_bytes and half.stats.peak_memory_bytes
    difference = np.abs(whole.pixels.astype(int) - half.pixels)
    assert np.median(difference) <= 2


@pytest.mark.parametrize("offload", ["model", "sequential"])
def test_offloaded_parts_draw_the_same_images(
    offload: str, folder_of: Callable[[str], Path]
) -> None:
    whole, found = (
        drawn(folder_of("stable_diffusion")),
        drawn(folder_of("stable_diffusion"), offload=offload),
    )

    assert np.abs(whole.pixels.astype(int) - found.pixels).max() <= 1
    assert found.stats.nfe == whole.stats.nfe


@pytest.mark.usefixtures("small_device")
def test_a_batch_that_does_not_fit_is_halved_on_the_device(
    folder_of: Callable[[str], Path],
) -> None:
    pipeline = load(folder_of("ddpm"), device=DEVICE)
    wasted = torch.cuda.mem_get_info()[1] // 400  # bytes for each image of a batch

    def waste(_module: object, inputs: tuple[torch.Tensor, object]) -> None:
        torch.empty(wasted * len(inputs[0]), dtype=torch.uint8, device=DEVICE)

    hook = pipeline.denoiser.register_forward_pre_hook(waste)
    try:
        found = draw_all(pipeline, PipelineSampler(steps=2), seeds=SEEDS, batch_size=8)
    finally:
        hook.remove()

    assert found.stats.batch_size <= 4 and len(found.pixels) == len(SEEDS)
