"""How often each scheduler asks the network: counted for those that diffusers ships for pipelines."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from generators.pipelines.drawing import Tally, draw
from generators.pipelines.loading import LoadedPipeline, load
from generators.specs.options import ConfigError
from generators.specs.pipelines.classes import DISCRETE, EDM, FLOW, SCHEDULERS
from generators.specs.pipelines.options import PipelineSampler
from tests.generators.conftest import exactly

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Rows through the network for an image in 1, 5 and 10 steps; guidance doubles them.
EVALUATIONS = {
    "DDIMScheduler": (1, 5, 10),
    "DDPMScheduler": (1, 5, 10),
    "DEISMultistepScheduler": (1, 5, 10),
    "DPMSolverMultistepScheduler": (1, 5, 10),
    "DPMSolverSinglestepScheduler": (1, 5, 10),
    "EulerAncestralDiscreteScheduler": (1, 5, 10),
    "EulerDiscreteScheduler": (1, 5, 10),
    "HeunDiscreteScheduler": (1, 9, 19),
    "KDPM2AncestralDiscreteScheduler": (1, 9, 19),
    "KDPM2DiscreteScheduler": (1, 9, 19),
    "LCMScheduler": (1, 5, 10),
    "LMSDiscreteScheduler": (1, 5, 10),
    "PNDMScheduler": (1, 6, 11),  # as Stable Diffusion sets it; otherwise 14 for 5 steps
    "SASolverScheduler": (1, 5, 10),
    "TCDScheduler": (1, 5, 10),
    "UniPCMultistepScheduler": (1, 5, 10),
}
OF_FLOWS = {
    "FlowMatchEulerDiscreteScheduler": (1, 5, 10),
    "FlowMatchHeunDiscreteScheduler": (1, 9, 19),
}
OF_PRECONDITIONED = {
    "EDMDPMSolverMultistepScheduler": (1, 5, 10),
    "EDMEulerScheduler": (1, 5, 10),
}

# Those of pipelines without words; a consistency model's own takes as many calls as it makes images.
WITHOUT_WORDS = {
    ("consistency", "CMStochasticIterativeScheduler"): (1, 5, 10),
    ("ddpm", "DDIMScheduler"): (1, 5, 10),
    ("ddpm", "DDPMScheduler"): (1, 5, 10),
    ("dit", "DDIMScheduler"): (1, 5, 10),
}


@pytest.fixture(scope="module")
def pipelines(folder_of: Callable[[str], Path]) -> Callable[[str], LoadedPipeline]:
    loaded: dict[str, LoadedPipeline] = {}

    def open_(name: str) -> LoadedPipeline:
        if name not in loaded:
            loaded[name] = load(folder_of(name))
        return loaded[name]

    return open_


def drawn(
    pipeline: LoadedPipeline, sampler: PipelineSampler, seeds: list[int], tally: Tally
) -> np.ndarray:
    captions = ["a red circle"] * len(seeds)
    (pixels,) = draw(
        pipeline, sampler, seeds=seeds, captions=captions, batch_size=len(seeds), tally=tally
    )
    return pixels.astype(int)


def test_the_tables_hold_every_scheduler() -> None:
    assert tuple(sorted(EVALUATIONS)) == DISCRETE
    assert tuple(OF_FLOWS) == FLOW
    assert tuple(OF_PRECONDITIONED) == EDM
    of_images = {name for _, name in WITHOUT_WORDS} - {*DISCRETE}
    assert {*SCHEDULERS} == {*DISCRETE, *FLOW, *EDM, *of_images}


@pytest.mark.parametrize("steps", [1, 5, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("scheduler", [*EVALUATIONS, *OF_FLOWS, *OF_PRECONDITIONED])
def test_evaluations_of_each_scheduler(
    scheduler: str, steps: int, pipelines: Callable[[str], LoadedPipeline]
) -> None:
    name = "preconditioned" if scheduler in OF_PRECONDITIONED else "stable_diffusion"
    pipeline = pipelines("stable_diffusion_3" if scheduler in OF_FLOWS else name)
    sampler = PipelineSampler(scheduler=scheduler, steps=steps, guidance=1)
    tally, alone = Tally(), Tally()

    both = drawn(pipeline, sampler, [1, 2], tally)
    second = drawn(pipeline, sampler, [2], alone)

    rows = {**EVALUATIONS, **OF_FLOWS, **OF_PRECONDITIONED}[scheduler][(1, 5, 10).index(steps)]
    assert (tally.evaluations, alone.evaluations) == (2 * rows, rows)
    assert np.abs(both[1] - second[0]).max() <= 1


@pytest.mark.parametrize("steps", [1, 5, 10])
@pytest.mark.parametrize(("name", "scheduler"), list(WITHOUT_WORDS))
def test_evaluations_without_words(
    name: str, scheduler: str, steps: int, pipelines: Callable[[str], LoadedPipeline]
) -> None:
    pipeline, tally = pipelines(name), Tally()
    sampler = PipelineSampler(scheduler=scheduler, steps=steps, guidance=1)
    labels = np.zeros(2, np.int64) if pipeline.card.asked == "classes" else None

    list(draw(pipeline, sampler, seeds=[1, 2], labels=labels, batch_size=2, tally=tally))

    rows = WITHOUT_WORDS[name, scheduler][(1, 5, 10).index(steps)]
    assert tally.evaluations == 2 * rows


def test_guidance_doubles_evaluations(pipelines: Callable[[str], LoadedPipeline]) -> None:
    sampler, tally = PipelineSampler(scheduler="HeunDiscreteScheduler", steps=5), Tally()

    drawn(pipelines("stable_diffusion"), sampler, [1], tally)

    assert tally.evaluations == 18


def test_a_scheduler_that_does_not_know_the_folders_settings_is_refused(
    pipelines: Callable[[str], LoadedPipeline],
) -> None:
    sampler = PipelineSampler(scheduler="SASolverScheduler", steps=2)  # it has data_prediction

    message = (
        "scheduler: SASolverScheduler does not walk as DPMSolverMultistepScheduler is set here: "
        "dpmsolver++ is not implemented for <class "
        "'diffusers.schedulers.scheduling_sasolver.SASolverScheduler'>"
    )
    with pytest.raises(ConfigError, match=exactly(message)):
        drawn(pipelines("pixart"), sampler, [1], Tally())
