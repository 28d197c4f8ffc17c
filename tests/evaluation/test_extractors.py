"""Whole image sets through an extractor: chunks, counts, batches, and extractors by name."""

from collections.abc import Iterator
from itertools import count as counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from evaluation.extractors.base import ExtractorError, FeatureSet, Stopped, extract
from evaluation.extractors.classifier import TrainedClassifier
from evaluation.extractors.registry import build_extractor
from tests.evaluation.factories import RandomProjection, make_images


class WithoutClasses(RandomProjection):
    """Features alone."""

    has_logits = False

    def forward(self, images: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]  # on purpose
        return super().forward(images)[0], None


def chunks(images: np.ndarray, cuts: list[int]) -> Iterator[np.ndarray]:
    yield from np.split(images, sorted(cuts))


def same(found: FeatureSet, expected: FeatureSet) -> bool:
    assert found.logits is not None and expected.logits is not None
    return torch.equal(found.features, expected.features) and torch.equal(
        found.logits, expected.logits
    )


@given(
    cuts=st.lists(st.integers(0, 23), max_size=6),
    batch_size=st.integers(1, 30),
    announced=st.booleans(),
)
def test_chunks_give_what_the_whole_array_gives(
    cuts: list[int], batch_size: int, announced: bool
) -> None:
    extractor = RandomProjection()
    images = make_images(23)

    found = extract(
        extractor,
        chunks(images, cuts),
        count=23 if announced else None,
        batch_size=batch_size,
    )

    assert same(found, extract(extractor, images, batch_size=batch_size))
    assert found.features.shape == (23, 64)


def test_batches_are_full_wherever_chunks_end() -> None:
    extractor = RandomProjection()

    extract(extractor, chunks(make_images(20), [3, 6, 9]), batch_size=5)

    assert extractor.calls == 4


def test_an_extractor_without_classes_has_no_logits() -> None:
    images = make_images(5)

    found = extract(WithoutClasses(), images, batch_size=2)

    assert found.logits is None
    assert torch.equal(found.features, extract(RandomProjection(), images, batch_size=2).features)


@pytest.mark.parametrize(("count", "shares"), [(None, [1.0]), (4, [0.5, 1.0])])
def test_progress_is_a_share_of_the_announced_count(count: int | None, shares: list[float]) -> None:
    seen: list[float] = []

    extract(
        RandomProjection(),
        iter([make_images(4)]),
        count=count,
        batch_size=2,
        on_progress=seen.append,
    )

    assert seen == shares


@pytest.mark.parametrize(
    ("count", "message"),
    [(5, "expected 5 images, got 4"), (3, "expected 3 images, got more")],
)
def test_another_count_than_the_announced_one_is_refused(count: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        extract(RandomProjection(), iter([make_images(4)]), count=count)

    assert str(caught.value) == message


@pytest.mark.parametrize("images", [make_images(0), []])
def test_no_image_at_all_is_refused(images: np.ndarray | list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"^expected at least 1 image, got 0$"):
        extract(RandomProjection(), images)


def test_floats_are_refused() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        extract(RandomProjection(), np.zeros((2, 1, 8, 8)))

    assert str(caught.value) == "expected uint8 (N, C, H, W), got float64 (2, 1, 8, 8)"


def test_stopping_takes_no_further_chunk() -> None:
    taken, asked = counter(), counter()

    def endless() -> Iterator[np.ndarray]:
        for _ in taken:
            yield make_images(2)

    with pytest.raises(Stopped):
        extract(RandomProjection(), endless(), batch_size=2, should_stop=lambda: next(asked) >= 3)

    assert next(taken) == 4


def test_a_classifier_is_built_from_its_folder_or_its_file(
    trained: TrainedClassifier, tmp_path: Path
) -> None:
    for weights in (trained.folder, trained.weights):
        extractor = build_extractor("dataset-classifier", weights=weights, cache=tmp_path)

        assert (extractor.name, extractor.weights_sha256, extractor.dim) == (
            "dataset-classifier",
            trained.weights_sha256,
            64,
        )


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^expected an extractor of .*inception-v3-compat.*got"):
        build_extractor("vgg", cache=tmp_path)


def test_a_classifier_without_weights_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError) as caught:
        build_extractor("dataset-classifier", cache=tmp_path)

    assert str(caught.value) == (
        "dataset-classifier needs weights: the folder or file of a classifier "
        "trained on the dataset's train split"
    )
