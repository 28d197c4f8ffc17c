"""Every scheduler in one to three steps: it draws, or says at the field what was expected."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.pipelines.drawing import draw
from generators.pipelines.loading import LoadedPipeline, load
from generators.specs.options import ConfigError
from generators.specs.pipelines.classes import SCHEDULERS
from generators.specs.pipelines.options import OWN, PipelineSampler, completed
from tests.generators.pipelines import tiny
from tests.generators.pipelines.conftest import Copy
from tests.generators.pipelines.test_reading import changed

# of diffusers' schedulers, which hand tensors to NumPy
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in tiny.WITH_WORDS]
RUNGE_KUTTA = (
    "steps: expected at least 4: PNDMScheduler begins with so many steps of Runge-Kutta, as the "
    "folder sets it; got {}"
)
AT_ONCE = "steps: expected at least 2: PixArtAlphaPipeline ends a single step at the clean image, "


def taken(pipeline: LoadedPipeline) -> Iterator[str]:
    """Yield the schedulers that a folder may be drawn with."""
    for scheduler in (OWN, *SCHEDULERS):
        try:
            completed(PipelineSampler(scheduler=scheduler, steps=10), pipeline.card)
        except ConfigError:
            continue
        yield scheduler


def outcome(pipeline: LoadedPipeline, scheduler: str, steps: int) -> str:
    """Return "drawn", or why it is not."""
    size: dict[str, Any] = (
        {"height": 32, "width": 32} if pipeline.card.pipeline == "FluxPipeline" else {}
    )
    sampler = PipelineSampler(scheduler=scheduler, steps=steps, guidance=1, **size)
    asked: dict[str, dict[str, Any]] = {
        "text": {"captions": ["two"]},
        "classes": {"labels": np.zeros(1, np.int64)},
    }
    try:
        list(draw(pipeline, sampler, seeds=[1], batch_size=1, **asked.get(pipeline.card.asked, {})))
    except ConfigError as error:
        return str(error)
    return "drawn"


@pytest.mark.parametrize("name", [*tiny.WITHOUT_WORDS, *SLOW])
def test_a_few_steps_are_drawn_or_refused_in_our_words(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    pipeline = load(folder_of(name))
    schedulers = list(taken(pipeline))
    assert OWN in schedulers

    for scheduler in schedulers:
        for steps in (1, 2, 3):
            found = outcome(pipeline, scheduler, steps)
            warms_up = found == RUNGE_KUTTA.format(steps) and scheduler == "PNDMScheduler"
            at_once = found.startswith(AT_ONCE) and (name, steps) == ("pixart", 1)
            known = (f"scheduler: {scheduler} does not walk as ", "drawn")
            assert warms_up or at_once or found.startswith(known), (scheduler, steps, found)
            if warms_up:
                assert outcome(pipeline, scheduler, 4) == "drawn"


def test_a_folder_that_skips_the_warm_up_is_drawn_in_one_step(copied: Copy) -> None:
    folder = copied("dit")
    assert outcome(load(folder), "PNDMScheduler", 1) == RUNGE_KUTTA.format(1)
    changed(folder / "scheduler" / "scheduler_config.json", skip_prk_steps=True)

    assert outcome(load(folder), "PNDMScheduler", 1) == "drawn"
