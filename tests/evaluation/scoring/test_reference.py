"""Saved references: what comes back, under which name, and what published statistics must be."""

import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from evaluation.features.base import ExtractionStopped, Extractor, extract
from evaluation.features.cache import FeatureCache
from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.opening import image_digests, images_digest, open_images
from evaluation.metrics.frechet import frechet_distance, measure_frechet, reference_gaussian
from evaluation.metrics.moments import Moments
from evaluation.scoring.references import (
    FOLDER,
    SavedReferenceError,
    build_reference,
    import_statistics,
    list_references,
    load_reference,
)
from tests.evaluation.factories import RandomProjection, make_images

Floats = npt.NDArray[np.float64]


class PlainPixels(Extractor):
    """The pixels themselves."""

    name = "plain-pixels"
    layer = "pixels"
    dim = 64
    weights_sha256 = ""
    device = torch.device("cpu")
    has_logits = False

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        return images.flatten(1).float(), None


def statistics(*, dim: int = 64, seed: int = 0) -> tuple[Floats, Floats]:
    rows = np.random.default_rng(seed).normal(size=(3 * dim, dim))
    return rows.mean(0), np.cov(rows, rowvar=False)


def refusal(path: Path, folder: Path, **options: Any) -> str:
    options = {"name": "ref", "extractor_name": "dataset-classifier"} | options
    with pytest.raises(SavedReferenceError) as caught:
        import_statistics(path, folder=folder, **options)
    return str(caught.value)


# --- References of images ---------------------------------------------------------------------


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    extractor, pixels = RandomProjection(), make_images(200)
    write_npz(tmp_path / "train.npz", pixels, np.arange(200) % 10)

    facts = build_reference(
        tmp_path, "digits-train", open_images(tmp_path / "train.npz"), extractor, rule="train"
    )
    loaded = load_reference(tmp_path, "digits-train")

    expected = extract(extractor, pixels)
    gaussian = reference_gaussian(expected.features)
    assert facts == loaded.facts
    assert facts.to_record() == {
        "name": "digits-train",
        "kind": "images",
        "digest": images_digest(pixels),
        "count": 200,
        "extractor": "dataset-classifier",
        "layer": "penultimate",
        "dim": 64,
        "weights_sha256": extractor.weights_sha256,
        "shape": [1, 8, 8],
        "rule": "train",
    }
    assert loaded.features is not None and loaded.features.logits is not None
    assert expected.logits is not None
    assert torch.equal(loaded.features.features, expected.features)
    assert torch.equal(loaded.features.logits, expected.logits)
    assert torch.equal(loaded.gaussian.mean, gaussian.mean)
    assert torch.equal(loaded.gaussian.factor, gaussian.factor)
    assert loaded.gaussian.trace == gaussian.trace and loaded.gaussian.count == 200
    assert loaded.labels is not None and np.array_equal(loaded.labels, np.arange(200) % 10)
    assert loaded.classes == tuple("0123456789")
    assert loaded.image_digests == image_digests(pixels)


def test_unlabelled_images_without_logits_are_saved_too(tmp_path: Path) -> None:
    build_reference(tmp_path, "few", open_images(make_images(10)), PlainPixels())
    loaded = load_reference(tmp_path, "few")

    assert loaded.features is not None and loaded.features.logits is None
    assert loaded.labels is None and loaded.classes == ()
    assert loaded.gaussian.factor.shape == (64, 10)  # of rank 9, as exact as the rows


def test_an_iterator_is_saved_in_its_one_pass(tmp_path: Path) -> None:
    pixels = make_images(100)

    facts = build_reference(
        tmp_path, "x", open_images(iter([pixels[:30], pixels[30:]])), RandomProjection()
    )

    assert facts.digest == images_digest(pixels)


def test_features_are_taken_from_the_cache(tmp_path: Path) -> None:
    extractor, stream = RandomProjection(), open_images(make_images(100))
    cache = FeatureCache(tmp_path)

    cache.features(extractor, stream)
    calls = extractor.calls
    build_reference(tmp_path, "x", stream, extractor, cache=cache)

    assert extractor.calls == calls


def test_references_are_listed_by_name_and_found_by_the_beginning_of_their_digest(
    tmp_path: Path,
) -> None:
    extractor = RandomProjection()
    second, first = (
        build_reference(tmp_path, name, open_images(make_images(50, seed=seed)), extractor)
        for seed, name in enumerate(["b", "a"])
    )

    assert list_references(tmp_path) == [first, second]
    assert load_reference(tmp_path, second.digest[:8].upper()).facts == second
    assert list_references(tmp_path / "nothing") == []


def test_a_name_stands_for_one_reference(tmp_path: Path) -> None:
    extractor, images = RandomProjection(), open_images(make_images(50))
    first = build_reference(tmp_path, "x", images, extractor)

    again = build_reference(tmp_path, "x", images, extractor)
    with pytest.raises(SavedReferenceError) as caught:
        build_reference(tmp_path, "x", open_images(make_images(50, seed=1)), extractor)
    other = build_reference(
        tmp_path, "x", open_images(make_images(50, seed=1)), extractor, replace=True
    )

    assert again == first
    assert str(caught.value) == (
        f"x is another reference: 50 images of digest {first.digest[:12]} by dataset-classifier; "
        "expected a name that is free"
    )
    assert list_references(tmp_path) == [other]


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(SavedReferenceError, match="no reference 'x'; there is: none"):
        load_reference(tmp_path, "x")
    build_reference(tmp_path, "y", open_images(make_images(50)), RandomProjection())
    build_reference(tmp_path, "z", open_images(make_images(50)), RandomProjection())

    digest = load_reference(tmp_path, "y").facts.digest
    with pytest.raises(SavedReferenceError, match="begins the digests of y, z; expected one"):
        load_reference(tmp_path, digest)
    with pytest.raises(SavedReferenceError, match=r"no reference '.....'; there is: y, z"):
        load_reference(tmp_path, digest[:5])


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b", "x" * 101, "ä"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(SavedReferenceError, match="expected a name of 1 to 100 letters"):
        build_reference(tmp_path, name, open_images(make_images(5)), RandomProjection())


@pytest.mark.parametrize("damage", ["cut", "flipped", "another file"])
def test_a_damaged_reference_is_refused_and_may_be_built_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    images = open_images(make_images(50))
    facts = build_reference(tmp_path, "x", images, RandomProjection())
    path = tmp_path / FOLDER / "x.safetensors"
    data = path.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    path.write_bytes({"cut": data[:50], "flipped": flipped, "another file": b"hello"}[damage])

    with pytest.raises(SavedReferenceError, match=r"reference x: damaged .*; build or import"):
        load_reference(tmp_path, "x")
    with caplog.at_level(logging.WARNING):
        listed = list_references(tmp_path)

    assert listed == ([facts] if damage == "flipped" else [])
    assert bool(caplog.text) == (damage != "flipped")
    assert build_reference(tmp_path, "x", images, RandomProjection()) == facts
    assert load_reference(tmp_path, "x").facts == facts


def test_one_image_is_no_reference(tmp_path: Path) -> None:
    with pytest.raises(SavedReferenceError, match="images: 1 image; expected at least 2"):
        build_reference(tmp_path, "x", open_images(make_images(1)), RandomProjection())


def test_building_that_was_stopped_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExtractionStopped):
        build_reference(
            tmp_path,
            "x",
            open_images(make_images(50)),
            RandomProjection(),
            should_stop=lambda: True,
        )

    assert list_references(tmp_path) == []
    assert not (tmp_path / FOLDER).exists()


# --- Published statistics ---------------------------------------------------------------------


@pytest.mark.parametrize("others", [{}, {"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "mu_s": [1.0]}])
def test_published_statistics_are_a_reference_for_the_frechet_distance(
    tmp_path: Path, others: dict[str, Any]
) -> None:
    mu, sigma = statistics()
    np.savez(tmp_path / "stats.npz", mu=mu, sigma=sigma, **others)

    facts = import_statistics(
        tmp_path / "stats.npz",
        name="published",
        extractor_name="dataset-classifier",
        folder=tmp_path,
        count=192,
    )
    loaded = load_reference(tmp_path, "published")

    assert facts == loaded.facts
    assert (facts.kind, facts.count, facts.dim) == ("statistics", 192, 64)
    assert facts.digest == hashlib.sha256(mu.tobytes() + sigma.tobytes()).hexdigest()
    assert loaded.features is None and loaded.image_digests is None and loaded.labels is None
    json.dumps(facts.to_record())
    generated = torch.from_numpy(np.random.default_rng(1).normal(size=(500, 64)) + 1)
    value = measure_frechet(generated, loaded.gaussian).value
    expected = frechet_distance(
        Moments.from_features(generated), Moments(count=192, mean=mu, covariance=sigma)
    )
    assert value == pytest.approx(expected, rel=1e-9)


def test_statistics_in_float32_and_without_full_rank_are_taken(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 64))
    mu, sigma = rows.mean(0).astype(np.float32), np.cov(rows, rowvar=False).astype(np.float32)
    np.savez(tmp_path / "stats.npz", mu=mu, sigma=sigma)

    facts = import_statistics(
        tmp_path / "stats.npz", name="x", extractor_name="dataset-classifier", folder=tmp_path
    )

    wide = mu.astype(np.float64).tobytes() + sigma.astype(np.float64).tobytes()
    assert facts.digest == hashlib.sha256(wide).hexdigest()
    assert facts.count == 0
    gaussian = load_reference(tmp_path, "x").gaussian
    covariance = gaussian.factor @ gaussian.factor.T
    assert torch.allclose(covariance, torch.from_numpy(sigma).double(), atol=1e-5)


MU, SIGMA = statistics()
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no covariance": ({"mu": MU}, "x.npz: holds mu; expected mu and sigma"),
    "other names": (
        {"mean": MU, "cov": SIGMA},
        "x.npz: holds cov, mean; expected mu and sigma",
    ),
    "another width": (
        {"mu": np.zeros(3), "sigma": np.eye(3)},
        "x.npz: mu has 3 values; expected the 64 of dataset-classifier",
    ),
    "shapes apart": (
        {"mu": MU, "sigma": np.eye(3)},
        "x.npz: mu (64,) and sigma (3, 3); expected (D,) and (D, D)",
    ),
    "whole numbers": (
        {"mu": MU, "sigma": np.eye(64, dtype=np.int64)},
        "x.npz: sigma: int64 (64, 64); expected floats of 2 axes",
    ),
    "nan": (
        {"mu": np.full(64, np.nan), "sigma": SIGMA},
        "x.npz: mu: 64 NaN or infinite values; expected none",
    ),
    "not symmetric": (
        {"mu": MU, "sigma": np.tri(64)},
        "x.npz: sigma: not symmetric by 1; expected a covariance",
    ),
    "negative": (
        {"mu": MU, "sigma": np.diag([1.0] * 63 + [-0.5])},
        "x.npz: sigma: has the eigenvalue -0.5; expected a covariance, without any below zero",
    ),
    "objects": (
        {"mu": np.array([{}], dtype=object), "sigma": SIGMA},
        "x.npz: mu: object (1,) does not fit its size; expected a plain array",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_mean_and_covariance_is_refused(tmp_path: Path, case: str) -> None:
    content, expected = REFUSED[case]
    np.savez(tmp_path / "x.npz", **content)

    assert refusal(tmp_path / "x.npz", tmp_path) == expected
    assert list_references(tmp_path) == []


def test_statistics_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(10**7))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", file.getvalue())

    assert refusal(tmp_path / "x.npz", tmp_path).endswith("expected at most 200 times as many")


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04\x95"])
def test_a_pickle_or_any_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)

    assert refusal(tmp_path / "x.pkl", tmp_path) == (
        "x.pkl: not a zip file (File is not a zip file); expected a folder, a .zip or an .npz file"
    )


def test_an_unknown_extractor_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", mu=MU, sigma=SIGMA)

    with pytest.raises(ValueError, match="got 'vgg'"):
        import_statistics(tmp_path / "x.npz", name="x", extractor_name="vgg", folder=tmp_path)
