import numpy as np
import pytest

from generators.specs.diffusion_samplers import DDIMSampler
from generators.specs.options import ConfigError, DirectSampler
from generators.trained.labels import balanced_labels
from generators.trained.sampling import (
    SamplingStopped,
    draw,
    draw_all,
    load_generator,
)
from generators.training.loop import TrainingResult
from tests.generators.conftest import exactly


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "expected 4 labels, got none"),
        (np.zeros(3, np.int64), "expected 4 labels, got shape (3,)"),
        (np.array([0, 1, 2, 3]), "expected labels in 0..2, got 0..3"),
        (np.array([0, -1, 2, 1]), "expected labels in 0..2, got -1..2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: np.ndarray | None, message: str, trained: dict[str, TrainingResult]
) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)

    with pytest.raises(ValueError, match=exactly(message)):
        draw_all(generator, DirectSampler(), seeds=range(4), labels=labels, batch_size=2)


def test_more_steps_than_the_model_has_are_refused(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["diffusion.ddpm"].checkpoint.path)
    labels = balanced_labels(2, 3)

    message = "steps: expected at most the model's 40 timesteps, got 50"
    with pytest.raises(ConfigError, match=exactly(message)):
        draw_all(generator, DDIMSampler(), seeds=range(2), labels=labels, batch_size=2)


def test_a_lower_temperature_draws_images_more_alike(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)

    def spread(temperature: float) -> float:
        samples = draw_all(
            generator,
            DirectSampler(temperature=temperature),
            seeds=range(30),
            labels=np.zeros(30, np.int64),
            batch_size=30,
        )
        return float(samples.pixels.astype(float).std(axis=0).mean())

    assert spread(0.1) < 0.5 * spread(1.0)


def test_drawing_reports_each_batch_and_stops_when_asked(
    trained: dict[str, TrainingResult],
) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)
    drawn: list[int] = []

    batches = draw(
        generator,
        DirectSampler(),
        seeds=range(10),
        labels=balanced_labels(10, 3),
        batch_size=4,
        on_batch=drawn.append,
        should_stop=lambda: len(drawn) == 2,
    )

    assert [len(next(batches)), len(next(batches))] == [4, 4]
    with pytest.raises(SamplingStopped, match=exactly("stopped after 8 of 10 images")):
        next(batches)
    assert drawn == [4, 8]


def test_nothing_to_draw_is_an_error(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)

    with pytest.raises(ValueError, match=exactly("expected at least one seed")):
        draw_all(generator, DirectSampler(), seeds=[], labels=balanced_labels(0, 3), batch_size=4)


def test_a_guided_image_costs_twice_the_evaluations(trained: dict[str, TrainingResult]) -> None:
    generator = load_generator(trained["diffusion.ddpm"].checkpoint.path)

    samples = draw_all(
        generator,
        DDIMSampler(steps=4, guidance=2.0),
        seeds=range(3),
        labels=balanced_labels(3, 3),
        batch_size=3,
    )

    assert samples.stats.nfe == 8
