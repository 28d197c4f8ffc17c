"""Whole image sets through an extractor: chunks, counts, batches, and extractors by name."""

from collections.abc import Iterator
from itertools import count as counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from evaluation.features.base import ExtractionStopped, ExtractorError, FeatureSet, extract
from evaluation.features.classifier import TrainedClassifier
from evaluation.features.cores import on_each_core
from evaluation.features.registry import build_extractor
from evaluation.imagesets.atomic import sha256_of
from tests.evaluation.factories import RandomProjection, make_images
from tests.inception import make_textures, write_random_weights


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

    with pytest.raises(ExtractionStopped):
        extract(RandomProjection(), endless(), batch_size=2, should_stop=lambda: next(asked) >= 3)

    assert next(taken) == 4


def test_parts_of_the_work_are_done_on_one_core_each_and_come_back_in_order() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        found = on_each_core(lambda part: (part, torch.get_num_threads()), range(20))
        alone = on_each_core(lambda part: (part, torch.get_num_threads()), [7])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

    assert found == [(part, 1) for part in range(20)]
    assert alone == [(7, 3)]


def test_an_error_on_one_core_is_an_error_of_the_whole() -> None:
    def fail_at_three(part: int) -> int:
        if part == 3:
            raise ExtractionStopped
        return part

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ExtractionStopped):
            on_each_core(fail_at_three, range(6))
    finally:
        torch.set_num_threads(before)


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


class ColourMeans(FeatureExtractorBase):  # type: ignore[misc]  # of an untyped library
    """What somebody may register in torch-fidelity: the mean of each channel, scaled."""

    def __init__(self, name: str, features_list: list[str], **options: Any) -> None:
        super().__init__(name, features_list)
        path = options.get("feature_extractor_weights_path")
        scale = torch.ones(3) if path is None else torch.load(path)["scale"]
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.float().mean((2, 3)) * self.scale,)

    @staticmethod
    def get_provided_features_list() -> tuple[str]:
        return ("means",)

    @staticmethod
    def get_default_feature_layer_for_metric(_metric: str) -> str:
        return "means"


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, "colour-means", ColourMeans)


@pytest.mark.usefixtures("_registered")
def test_any_extractor_registered_in_torch_fidelity_is_known_by_its_name(tmp_path: Path) -> None:
    torch.save({"scale": torch.tensor([1.0, 2.0, 3.0])}, tmp_path / "scale.pth")
    images = make_images(4)

    plain = build_extractor("torch-fidelity/colour-means", cache=tmp_path)
    scaled = build_extractor(
        "torch-fidelity/colour-means", weights=tmp_path / "scale.pth", cache=tmp_path
    )

    means = torch.from_numpy(images).float().mean((2, 3))
    assert torch.equal(extract(plain, images).features, means.expand(4, 3))
    assert torch.equal(extract(scaled, images).features, means * torch.tensor([[1.0, 2.0, 3.0]]))
    assert (plain.dim, plain.recipe, plain.has_logits) == (3, {"layer": "means"}, False)
    assert scaled.weights_sha256 == sha256_of(tmp_path / "scale.pth")
    assert plain.weights_sha256 != scaled.weights_sha256


def test_torch_fidelity_s_inception_is_built_from_the_same_file(tmp_path: Path) -> None:
    weights, images = write_random_weights(tmp_path), make_textures(2)

    theirs = build_extractor("torch-fidelity/inception-v3-compat", weights=weights, cache=tmp_path)
    ours = build_extractor("inception-v3-compat", weights=weights, cache=tmp_path)

    expected = extract(theirs, images).features
    difference = (extract(ours, images).features - expected).abs().max()
    assert theirs.dim == 2048
    assert theirs.weights_sha256 == ours.weights_sha256
    assert float(difference / expected.abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "vgg16",
            "torch-fidelity's vgg16 needs a local weights file: vgg16-397923af.pth, "
            "as torchvision publishes it. Name it with --weights",
        ),
        (
            "clip-vit-b-32",
            "torch-fidelity's clip-vit-b-32 needs a local weights file: ViT-B-32.pt of CLIP (sha256 "
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af). "
            "Name it with --weights",
        ),
        (
            "dinov2-vit-s-14",
            "torch-fidelity reads dinov2-vit-s-14 from no file: it downloads code. "
            "The extractor dinov2-vit-l-14, without the prefix, reads the large one",
        ),
    ],
)
def test_torch_fidelity_never_downloads(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExtractorError) as caught:
        build_extractor(f"torch-fidelity/{name}", cache=tmp_path)

    assert str(caught.value) == message


def test_an_archive_of_code_is_opened_only_if_it_is_the_published_one(tmp_path: Path) -> None:
    (tmp_path / "clip.pt").write_bytes(b"anything")

    with pytest.raises(ExtractorError, match=r"clip\.pt is not the published file of clip-rn50: "):
        build_extractor("torch-fidelity/clip-rn50", weights=tmp_path / "clip.pt", cache=tmp_path)


def test_weights_of_torch_fidelity_s_extractors_are_not_unpickled(tmp_path: Path) -> None:
    (tmp_path / "vgg.pth").write_bytes(b"not tensors")

    with pytest.raises(ExtractorError, match=r"vgg\.pth holds no weights of vgg16: "):
        build_extractor("torch-fidelity/vgg16", weights=tmp_path / "vgg.pth", cache=tmp_path)


def test_what_torch_fidelity_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"^torch-fidelity has clip-.*vgg16; got 'vgg19'$"):
        build_extractor("torch-fidelity/vgg19", cache=tmp_path)
