import math

import numpy as np
import pytest

from generators.commands.measure import table_text
from generators.trained.measure import Measurement, measure
from generators.trained.sampling import load_generator
from generators.training.loop import TrainingResult
from tests.generators.conftest import exactly, make_data
from tests.generators.toy import toy_generator

PIXELS = np.random.default_rng(0).integers(0, 256, (130, 1, 8, 12)).astype(np.uint8)
LABELS = np.arange(130) % 3


def by_name(found: list[Measurement]) -> dict[str, Measurement]:
    return {one.name: one for one in found}


def test_every_number_is_measured_where_it_is_defined() -> None:
    done: list[int] = []

    found = by_name(measure(toy_generator(), PIXELS // 2, LABELS, on_batch=done.append))

    assert list(found) == [
        "bits_per_dimension/elbo",
        "bits_per_dimension/drawn",
        "psnr",
        "ssim",
        "active_units",
        "codebook_usage",
    ]
    elbo = found["bits_per_dimension/elbo"]
    assert (elbo.value, elbo.standard_error, elbo.images) == (4.0, 0.0, 130)
    # brighter by 0.1 on a scale of 2
    assert found["psnr"].value == pytest.approx(20 * math.log10(2 / 0.1), abs=1e-4)
    ssim = found["ssim"].value
    assert ssim is not None and 0.9 < ssim < 1
    assert found["active_units"] == Measurement("active_units", 1.0, None, 130)
    assert found["codebook_usage"].reason == "Toy has no codebook"
    assert done == [100, 130]


def test_a_mean_has_its_standard_error_and_follows_from_the_seed() -> None:
    def drawn(seed: int) -> Measurement:
        return by_name(measure(toy_generator(), PIXELS, LABELS, seed=seed))[
            "bits_per_dimension/drawn"
        ]

    first, again, other = drawn(1), drawn(1), drawn(2)

    assert first == again != other
    assert first.value is not None and abs(first.value) < 4 / 130**0.5
    assert first.standard_error == pytest.approx(1 / 130**0.5, rel=0.3)


def test_what_is_not_defined_has_a_reason(trained: dict[str, TrainingResult]) -> None:
    data = make_data()
    generator = load_generator(trained["gan.sngan"].checkpoint.path)

    found = measure(generator, data.images, data.labels)

    assert {one.name for one in found} >= {"bits_per_dimension", "psnr", "ssim", "active_units"}
    assert all(one.value is None and one.reason.startswith("SNGAN has no ") for one in found)


def test_images_without_labels_and_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=exactly("expected 130 labels, got none")):
        measure(toy_generator(), PIXELS, None)
    with pytest.raises(ValueError, match=exactly("expected at least 1 sample, got 0")):
        measure(toy_generator(), PIXELS, LABELS, samples=0)


def test_a_table_shows_numbers_and_reasons() -> None:
    found = [
        Measurement("psnr", 21.5, 0.25, 1300),
        Measurement("ssim", None, None, 0, "GAN has no encoder"),
    ]

    lines = table_text(found, "a model").splitlines()

    assert lines[0] == "a model"
    assert lines[4].split() == ["│", "psnr", "│", "21.5000", "│", "0.2500", "│", "1,300", "│"]
    assert lines[5].split() == ["│", "ssim", "│", "N/A", "│", "–", "│", "–", "│"]
    assert lines[-1] == "N/A ssim: GAN has no encoder"
