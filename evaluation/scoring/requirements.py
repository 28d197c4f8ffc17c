"""What a protocol needs beside an extractor that sees corruptions, before its values are ranked.

- A classifier must be right on images that it was not trained on: on more than half of those that
  one answer for all would get wrong. That is a skill score of 0.5 over the most frequent class, and
  a lower confidence bound must reach it, so that few images pass no classifier by luck.
- A Gaussian fitted to D features needs images: as many scored and reference images for each feature
  as the metric's interval asks for, which is 5. With fewer the metric has no ranks; others have.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betaincinv

from evaluation.protocols.record import Protocol, images_needed
from evaluation.scoring.admission import Admission

SKILL = 0.5  # of what chance leaves wrong: the share that must be right
LEVEL = 0.95  # one-sided


@dataclass(frozen=True)
class Accuracy:
    """How often a classifier is right on ``images`` that it was not trained on, a share in 0..1.

    ``chance`` is the share of the most frequent class, which one answer for all would reach.
    """

    share: float
    images: int
    chance: float

    @classmethod
    def on(cls, labels: np.ndarray, share: float) -> "Accuracy":
        """Return the accuracy on images of these class numbers (N,), from 0."""
        return cls(share, len(labels), float(np.bincount(labels).max() / len(labels)))

    @property
    def floor(self) -> float:
        """Return the accuracy that a classifier must have: 0.55 of ten equal classes.

        Source: the skill score (a - c) / (1 - c) of Cohen, 1960, "A coefficient of agreement for
        nominal scales"; deviation: c is the most frequent class's share, which is never below his.
        """
        return self.chance + SKILL * (1 - self.chance)

    @property
    def low(self) -> float:
        """Return what the accuracy is above with 95 % confidence, whatever the number of images.

        Source: Clopper and Pearson, 1934, "The use of confidence or fiducial limits illustrated in
        the case of the binomial". Wilson's bound passes 6 % of those just below for 20 images.
        """
        right = round(self.share * self.images)
        return float(betaincinv(right, self.images - right + 1, 1 - LEVEL)) if right else 0.0

    def failure(self) -> str:
        """Return why such a classifier is not fit, or nothing if it is."""
        if self.low >= self.floor:
            return ""
        return (
            f"the classifier is right on {self.share:.1%} of {self.images:,} held-out images, which "
            f"shows no more than {self.low:.1%} with {LEVEL:.0%} confidence; expected "
            f"{self.floor:.1%}, half way from the {self.chance:.1%} of one answer for all to 100%"
        )

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "accuracy": self.share,
            "images": self.images,
            "chance": self.chance,
            "low": self.low,
            "floor": self.floor,
        }


NO_ACCURACY = "how often the classifier is right is not known: expected labelled held-out images"


def judged(
    found: Admission,
    *,
    is_classifier: bool,
    accuracy: Accuracy | None,  # None = not known, or of no classifier
    protocol: Protocol | None = None,  # that is to use the extractor
) -> Admission:
    """Return what the admission test found, with what else the protocol lacks."""
    failure = ""
    if is_classifier:
        failure = NO_ACCURACY if accuracy is None else accuracy.failure()
    return replace(
        found,
        reasons=(*filter(None, [failure]), *found.reasons),
        unranked={} if protocol is None else image_shortages(protocol),
        classifier={} if accuracy is None else accuracy.to_record(),
    )


def image_shortages(protocol: Protocol) -> dict[str, str]:
    """Return the metrics for which a protocol has too few images, each with the reason."""
    found = {}
    for name in protocol.metrics:
        needed, words = images_needed(protocol, name)
        sets = (("scored", protocol.num_images), ("reference", protocol.reference.count))
        few = [f"{count:,} {which} images" for which, count in sets if 0 < count < needed]
        if few:
            found[name] = (
                f"{protocol.label(name)}: {' and '.join(few)} are fewer than {words}; "
                f"it takes {needed:,}"
            )
    return found
