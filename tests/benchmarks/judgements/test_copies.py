"""How often copies are marked, and how often what copies nothing: MNIST, 60,000 training images.

`pytest tests/benchmarks/judgements/test_copies.py` takes about three minutes and prints the rates.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from torch import Tensor

from evaluation.imagesets.in_memory import read_images
from evaluation.metrics.copies import copied_share
from evaluation.metrics.pairs.thumbnails import NearestThumbnails, nearest_thumbnails, thumbnails
from tests.evaluation.metrics.changes import CHANGES, Change, shifted

MNIST = Path(__file__).resolve().parents[4] / "shared" / "data" / "mnist.zip"
LEVEL = 0.05 / 32  # a family of 32 marks on one board
DRAWS, GENERATED = 200, 1000
MORE_CHANGES: dict[str, Change] = {
    "two pixels right": lambda images: shifted(images, 2, 0),
    "two pixels left and down": lambda images: shifted(images, -2, 2),
}

Write = Callable[[str], None]


@pytest.fixture(scope="module")
def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return training images, and unseen ones with their labels."""
    if not MNIST.exists():
        pytest.skip("no mnist.zip in ../shared/data")
    test = read_images(MNIST, part="test")
    assert test.labels is not None
    return read_images(MNIST, part="train").pixels, test.pixels, test.labels


def small(images: np.ndarray) -> Tensor:
    return thumbnails(images[at : at + 256] for at in range(0, len(images), 256))


@pytest.fixture(scope="module")
def train(mnist: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Tensor:
    return small(mnist[0])


@pytest.fixture(scope="module")
def unseen(mnist: tuple[np.ndarray, np.ndarray, np.ndarray], train: Tensor) -> np.ndarray:
    return nearest_thumbnails(small(mnist[1]), train).ratios


def marked(unseen: np.ndarray, other: np.ndarray, share: float, *, held_out: int) -> float:
    """Return the share of draws marked: ``share`` of each set is other, the rest unseen images."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(DRAWS):
        order = rng.permutation(unseen)
        generated, count = order[held_out:][:GENERATED], round(share * GENERATED)
        generated[:count] = rng.choice(other, count, replace=count > len(other))
        p_value = copied_share(_near(generated), _near(order[:held_out]), shift=2).details[
            "p_value"
        ]
        found += p_value < LEVEL
    return found / DRAWS


def _near(ratios: np.ndarray) -> NearestThumbnails:
    return NearestThumbnails(ratios, np.zeros(len(ratios), np.int64), ratios)


def test_a_tenth_of_copies_is_marked_whatever_was_done_to_them(
    mnist: tuple[np.ndarray, np.ndarray, np.ndarray],
    train: Tensor,
    unseen: np.ndarray,
    report: Write,
) -> None:
    chosen = np.random.default_rng(1).choice(len(train), 500, replace=False)
    for name, change in {**CHANGES, **MORE_CHANGES}.items():
        images = np.ascontiguousarray(change(mnist[0][chosen]))
        copied = nearest_thumbnails(small(images), train).ratios

        power = {
            share: [marked(unseen, copied, share, held_out=held_out) for held_out in (1000, 9000)]
            for share in (0.03, 0.1, 0.5)
        }

        report(f"copies, {name}: marked {power} with 1,000 and 9,000 held-out images")
        assert min(power[0.1]) >= 0.8
        assert min(power[0.5]) == 1


def test_unseen_images_are_hardly_ever_marked(unseen: np.ndarray, report: Write) -> None:
    rates = {
        held_out: marked(unseen, unseen, 0, held_out=held_out) for held_out in (360, 1000, 9000)
    }

    report(f"unseen images: marked {rates} by the number of held-out ones")
    assert max(rates.values()) <= LEVEL + 3 * (LEVEL / DRAWS) ** 0.5


def test_plain_images_are_not_taken_for_copies(
    mnist: tuple[np.ndarray, np.ndarray, np.ndarray],
    train: Tensor,
    unseen: np.ndarray,
    report: Write,
) -> None:
    """Blurred images and one class alone copy nothing: at most a few of a hundred count.

    By the distance alone 8 % of the ones would: they are near to many ones.
    """
    _, test, labels = mnist
    plain = {f"blurred by {sigma}": blurred(test[:2000], sigma) for sigma in (0.5, 1.0, 2.0)}
    plain |= {f"only {digit}": test[labels == digit] for digit in range(10)}
    threshold = np.sort(unseen)[len(unseen) // 100 - 1]
    shares = {
        name: float((nearest_thumbnails(small(images), train).ratios < threshold).mean())
        for name, images in plain.items()
    }

    report("\n".join(f"{name}: {share:.1%} count as copies" for name, share in shares.items()))
    assert max(shares.values()) < 0.05


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    smooth = gaussian_filter(images.astype(np.float32), (0, 0, sigma, sigma))
    found: np.ndarray = (smooth + 0.5).clip(0, 255).astype(np.uint8)
    return found


@pytest.mark.parametrize("count", [1000, 10_000])
def test_time(
    mnist: tuple[np.ndarray, np.ndarray, np.ndarray], train: Tensor, count: int, report: Write
) -> None:
    images = small(mnist[1][:count])
    begin = time.perf_counter()

    nearest_thumbnails(images, train)

    taken = time.perf_counter() - begin
    report(f"{count:,} images x {len(train):,} training images: {taken:.1f} s")
    assert taken < 12 * max(count, 2000) / 1000
