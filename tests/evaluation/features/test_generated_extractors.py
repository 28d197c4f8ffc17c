"""Extractors without published weights: random convolutions, principal components, stacked digits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from evaluation.features import pixels
from evaluation.features.base import ExtractorError, extract
from evaluation.features.classifier import (
    ClassifierExtractor,
    LabelledImages,
    TrainedClassifier,
)
from evaluation.features.pixels import PixelExtractor
from evaluation.features.random_convolution import (
    RandomConvolution,
    RandomConvolutionExtractor,
    random_convolution_recipe,
    split_keys,
)
from evaluation.features.registry import build_extractor
from evaluation.features.stacked import StackedExtractor
from tests.evaluation.factories import make_images

Digits = tuple[LabelledImages, LabelledImages]


def make_random(
    *, channels: int = 1, resolution: int = 8, keys: tuple[int, ...] = (0, 1, 2)
) -> RandomConvolutionExtractor:
    return RandomConvolutionExtractor(
        random_convolution_recipe(channels=channels, resolution=resolution, keys=keys)
    )


def test_the_same_keys_always_make_the_same_network() -> None:
    # The digest of the written specification: it holds on every machine and must never change.
    assert make_random().weights_sha256 == make_random().weights_sha256 == DIGEST
    assert make_random(keys=(0, 1, 3)).weights_sha256 != DIGEST
    assert make_random(channels=3).weights_sha256 != DIGEST


DIGEST = "87fe62353d6195e8b271183b8a377f19e24273a4ba2c369a743ffa0046b2dc93"


def test_the_features_of_each_key_stand_side_by_side() -> None:
    extractor, images = make_random(), make_images(5)

    found = extract(extractor, images)

    assert found.features.shape == (5, 192) and extractor.dim == 192
    assert found.logits is None and not extractor.has_logits
    for key, features in zip((0, 1, 2), split_keys(found.features, (0, 1, 2)), strict=True):
        alone = extract(make_random(keys=(key,)), images).features
        torch.testing.assert_close(features, alone, rtol=1e-5, atol=1e-6)


def test_columns_that_are_not_of_so_many_keys_are_refused() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        split_keys(torch.zeros(2, 64), [0, 1, 2])

    assert str(caught.value) == "expected a multiple of 3 columns for the keys [0, 1, 2], got 64"


def test_random_weights_keep_the_size_of_activations() -> None:
    network = RandomConvolution(0, channels=16, resolution=8, width=64)
    x = torch.randn(64, 16, 8, 8, generator=torch.Generator().manual_seed(0))

    for weight in network.weights:
        variance = float(weight.var())
        assert variance == pytest.approx(2 / (1.04 * weight[0].numel()), rel=0.03)
    y = functional.leaky_relu(functional.conv2d(x, network.weights[0]), 0.2)
    assert float((y**2).mean()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("resolution", "layers"), [(4, 3), (8, 3), (28, 3), (32, 3), (33, 4), (64, 4), (256, 6)]
)
def test_larger_images_pass_more_layers(resolution: int, layers: int) -> None:
    extractor = make_random(channels=3, resolution=resolution)

    found = extract(extractor, make_images(2, channels=3, side=resolution))

    assert len(RandomConvolution(0, channels=3, resolution=resolution).weights) == layers
    assert found.features.shape == (2, 192)
    assert float(found.features.std()) > 0.01


def test_a_recipe_of_another_version_is_refused() -> None:
    recipe = random_convolution_recipe(channels=1, resolution=8) | {"version": 2}

    with pytest.raises(ExtractorError, match=r"^expected a recipe of random-convolution version 1"):
        RandomConvolutionExtractor(recipe)


def test_random_convolutions_are_built_for_the_reference_or_from_a_recipe(tmp_path: Path) -> None:
    fitting = build_extractor(
        "random-convolution", cache=tmp_path, reference=make_images(3, channels=3)
    )
    again = build_extractor("random-convolution", cache=tmp_path, recipe=fitting.recipe)

    assert fitting.recipe["channels"] == 3
    assert again.weights_sha256 == fitting.weights_sha256
    with pytest.raises(ExtractorError, match=r"^random-convolution is made for a reference, and "):
        build_extractor("random-convolution", cache=tmp_path)


def test_all_components_of_pixels_keep_every_distance() -> None:
    images = make_images(90, side=6)

    extractor = PixelExtractor(images)

    features = extract(extractor, images).features.double()
    flat = torch.from_numpy(images).flatten(1).double() / 255
    assert extractor.dim == 36
    torch.testing.assert_close(torch.pdist(features), torch.pdist(flat), rtol=1e-5, atol=1e-5)
    assert features.mean(0).abs().max() < 1e-6
    covariance = features.T.cov()
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-6
    assert bool((covariance.diag().diff() <= 0).all())


def test_both_ways_to_the_components_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images than pixels: they come from the Gram matrix, column by column."""
    images = make_images(40, channels=3, side=8)
    monkeypatch.setattr(pixels, "COLUMNS", 50)

    extractor = PixelExtractor(images)

    flat = images.reshape(40, -1) / 255
    centred = flat - flat.mean(0)
    _, sizes, components = np.linalg.svd(centred, full_matrices=False)
    assert extractor.dim == 39
    features = extract(extractor, images).features.numpy()
    assert np.abs(features) == pytest.approx(np.abs(centred @ components[:39].T), abs=1e-5)
    assert np.linalg.norm(features, axis=0) == pytest.approx(sizes[:39], rel=1e-5)


def test_components_are_fitted_on_a_bounded_choice_of_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixels, "MOST_IMAGES", 20)
    images = make_images(200)

    extractor = PixelExtractor(images)

    assert extractor.dim == 19
    assert extractor.recipe["fitted_on"]["at_most"] == 20


def test_pixels_are_known_by_their_reference() -> None:
    images = make_images(50)
    other = images.copy()
    other[0, 0, 0, 0] ^= 1

    assert PixelExtractor(images).weights_sha256 == PixelExtractor(images.copy()).weights_sha256
    assert PixelExtractor(images).weights_sha256 != PixelExtractor(other).weights_sha256


def test_pixels_need_a_reference_that_varies_and_images_of_its_shape(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"^expected a reference of different images"):
        PixelExtractor(np.zeros((5, 1, 4, 4), np.uint8))
    with pytest.raises(ExtractorError, match=r"^pixels-pca64 is made for a reference"):
        build_extractor("pixels-pca64", cache=tmp_path)
    extractor = build_extractor("pixels-pca64", cache=tmp_path, reference=make_images(9))
    with pytest.raises(ExtractorError) as caught:
        extract(extractor, make_images(2, channels=3))
    assert str(caught.value) == (
        "expected images of the reference's shape (1, 8, 8), got (3, 8, 8)"
    )


def test_a_stacked_image_has_the_classes_of_its_channels(
    trained: TrainedClassifier, digits: Digits, tmp_path: Path
) -> None:
    test = digits[1]
    stacked = test.pixels[:498].reshape(166, 3, 8, 8)
    extractor = build_extractor("stacked-classifier", weights=trained.folder, cache=tmp_path)

    found = extract(extractor, stacked)

    single = extract(ClassifierExtractor(trained.folder), test.pixels[:498])
    assert found.logits is not None and single.logits is not None
    assert extractor.dim == 192 and extractor.weights_sha256 == trained.weights_sha256
    torch.testing.assert_close(found.features, single.features.view(166, 192), rtol=1e-4, atol=1e-4)
    a, b, c = single.logits.argmax(1).view(166, 3).T
    assert torch.equal(found.logits.argmax(1), 100 * a + 10 * b + c)
    total = found.logits.double().exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-4, atol=1e-5)


def test_a_stack_needs_three_channels(trained: TrainedClassifier) -> None:
    with pytest.raises(ExtractorError, match=r"^expected 3 channels, got 1$"):
        extract(StackedExtractor(trained.folder), make_images(2))


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("name", ["random-convolution", "pixels-pca64", "stacked-classifier"])
def test_features_depend_on_the_batch_size_by_rounding_alone(
    name: str, batch_size: int, trained: TrainedClassifier, tmp_path: Path
) -> None:
    images = make_images(20, channels=3)
    extractor = build_extractor(name, weights=trained.folder, cache=tmp_path, reference=images)

    whole = extract(extractor, images).features
    pieces = extract(extractor, images, batch_size=batch_size).features

    assert float((whole - pieces).abs().max()) < 1e-5 * float(whole.abs().max())
