"""The agreement of images and prompts by a CLIP-like model, with what it is between floor and ceiling."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.features.clip import ClipModel
from evaluation.imagesets.splits import choose
from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.prompts.agreement import clip_scores, mean_agreement
from evaluation.metrics.uncertainty import MetricResult
from evaluation.protocols.agreement import CLIP_SCORE, ClipIdentity
from evaluation.protocols.record import Protocol
from evaluation.scoring.checks import EvaluationError, check_digest
from evaluation.scoring.of_images import SELECTION_SEED, Work

MOST_REAL = 2_000  # held-out images whose agreement with their own captions is measured


def check_clip(protocol: Protocol, clip: ClipModel | None) -> None:
    """Raise EvaluationError unless the model is the one that the protocol names."""
    wanted = ClipIdentity.of(protocol.metrics)
    if wanted is None:
        return
    if clip is None:
        raise EvaluationError(f"{wanted.label}: expected the model of sha256 {wanted.sha256}")
    if clip.identity.sha256 != wanted.sha256:
        raise EvaluationError(
            f"{wanted.label}: expected the model of sha256 {wanted.sha256}, got one of "
            f"{clip.identity.sha256}"
        )


def measure_agreement(work: Work) -> MetricResult:
    """Return the CLIPScore of the images with their prompts.

    ``details``: `other_prompts`, the mean score of each image with all prompts but its own: what an
    image that follows no prompt gets, the floor; `real_pairs`, that of held-out real images with
    their own captions, where they have some: the ceiling; `cut`, prompts that the model does not
    read to their end.
    """
    assert work.clip is not None, "checked before"
    assert work.prompts is not None, "checked with the sets"
    texts = work.prompts.texts
    scores = clip_scores(
        _vectors(work, work.clip, work.fake), work.clip.texts(texts).double().numpy()
    )
    own = scores[np.arange(len(scores)), np.arange(len(scores)) % len(texts)]
    details: dict[str, Any] = {"cut": sum(map(work.clip.is_cut, texts))}
    if len(texts) > 1:
        others = (scores.sum() - own.sum()) / (len(scores) * (len(texts) - 1))
        details["other_prompts"] = float(others)
    if (real := _real_pairs(work, work.clip)) is not None:
        details["real_pairs"] = real
    return replace(mean_agreement(own, len(texts), level=work.level), details=details)


def _vectors(
    work: Work, clip: ClipModel, images: ImageStream, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Return the vectors of images, or of a choice of them, (N, D) float64."""
    found, done, total = [], 0, images.count if chosen is None else len(chosen)
    for chunk in images.chunks(chosen):
        for start in range(0, len(chunk), clip.batch_size):
            work.keep_going()
            found.append(clip.images(chunk[start : start + clip.batch_size]))
        done += len(chunk)
        work.report(CLIP_SCORE, done / (total or done))
    return torch.cat(found).double().numpy()


def _real_pairs(work: Work, clip: ClipModel) -> float | None:
    """Return the mean score of held-out images with their own captions, None where none have any.

    At most MOST_REAL of them, a seeded choice; kept, as they are the same for every model.
    """
    held_out, split = work.held_out, work.protocol.held_out
    if held_out is None or split is None or held_out.captions is None:
        return None
    check_digest("held-out", split, held_out.digest())
    captions: Sequence[str] = held_out.captions
    chosen = choose(len(captions), min(len(captions), MOST_REAL), seed=SELECTION_SEED)
    texts = [captions[index] for index in chosen]

    def make() -> dict[str, Tensor]:
        images = _vectors(work, clip, held_out, chosen)
        own = (images * clip.texts(texts).double().numpy()).sum(axis=1)
        return {"mean": torch.tensor([100 * np.clip(own, 0, 1).mean()], dtype=torch.float64)}

    key = "\n".join([f"real pairs {split.digest} {clip.identity.sha256}", *texts])
    return float(work.cache.tensors(key, make)["mean"][0])
