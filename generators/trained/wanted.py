"""What images a generator is asked for, as it is told: labels or captions to rows."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from generators.algorithm.noise import derive_seed
from generators.specs.conditions import Conditions

Wanted = np.ndarray | Sequence[str] | None  # labels (N,), captions, or nothing


def as_rows(conditions: Conditions, wanted: Wanted, count: int) -> Tensor | None:
    """Return what is wanted as a generator of these conditions takes it: rows (count, L), or None.

    Raises:
        ValueError: if it does not fit the conditions; unknown words are named.
    """
    if not conditions.given:
        if wanted is not None:
            what = "labels" if isinstance(wanted, np.ndarray) else "captions"
            raise ValueError(f"expected no {what}: the generator is unconditional")
        return None
    if conditions.by_text:
        return _rows_of_captions(conditions, wanted, count)
    return _rows_of_labels(conditions, wanted, count)


def _rows_of_captions(conditions: Conditions, wanted: Wanted, count: int) -> Tensor:
    if wanted is None or isinstance(wanted, np.ndarray) or len(wanted) != count:
        got = "none" if wanted is None else str(len(wanted))
        got = f"{got} labels" if isinstance(wanted, np.ndarray) else got
        raise ValueError(f"expected {count} captions, got {got}")
    return torch.tensor(conditions.rows(wanted))


def _rows_of_labels(conditions: Conditions, wanted: Wanted, count: int) -> Tensor:
    if wanted is not None and not isinstance(wanted, np.ndarray):
        raise ValueError(f"expected {count} labels: the generator knows classes and no words")
    if wanted is None or wanted.shape != (count,):
        got = "none" if wanted is None else f"shape {wanted.shape}"
        raise ValueError(f"expected {count} labels, got {got}")
    if count and not 0 <= wanted.min() <= wanted.max() < conditions.classes:
        raise ValueError(
            f"expected labels in 0..{conditions.classes - 1}, got {wanted.min()}..{wanted.max()}"
        )
    return torch.from_numpy(wanted.astype(np.int64)[:, None])


def stand_ins(
    conditions: Conditions, wanted: Wanted, seeds: Sequence[int], counts: Sequence[int] | None
) -> Wanted:
    """Return what is wanted, with captions of the training for those that were never one.

    Where each caption is a class, a prompt that was none asks for nothing that there is: its image
    is one of any caption, by the image's seed and as often as the training had them. That is the
    model's own distribution of all images, of every family alike; diffusion models are told "none"
    in training only if labels are dropped, others never.

    Args:
        conditions: of the generator.
        wanted: labels or captions, one for each seed.
        seeds: of the images.
        counts: how many training images each caption had; None = they had equally many.
    """
    if not conditions.captions or wanted is None or isinstance(wanted, np.ndarray):
        return wanted
    if len(wanted) != len(seeds):
        return wanted  # as no rows, which is said there
    ends = np.cumsum(counts or [1] * conditions.classes)
    return [
        caption if conditions.knows(caption) else conditions.captions[_drawn(ends, seed)]
        for caption, seed in zip(wanted, seeds, strict=True)
    ]


def _drawn(ends: np.ndarray, seed: int) -> int:
    """Return the place of an image of the training, drawn by a seed, among its captions' ends."""
    rng = np.random.default_rng(derive_seed(seed, "caption"))
    return int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))


def unknown_count(conditions: Conditions, wanted: Wanted) -> int:
    """Return for how many of the images something else stands in."""
    if wanted is None or isinstance(wanted, np.ndarray):
        return 0
    return sum(not conditions.knows(caption) for caption in wanted)


def apart(wanted: Wanted) -> tuple[np.ndarray | None, list[str] | None]:
    """Return labels (N,) int64 and captions, of which one is None, or both are."""
    if isinstance(wanted, np.ndarray):
        return wanted.astype(np.int64), None
    return None, None if wanted is None else list(wanted)


def one_of(labels: Wanted, captions: Sequence[str] | None) -> Wanted:
    """Return what of both is there.

    Raises:
        ValueError: if both are.
    """
    if labels is not None and captions is not None:
        raise ValueError("expected labels or captions, got both")
    return labels if captions is None else captions
