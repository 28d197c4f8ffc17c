"""Statistics that a file holds beside its images: whether they are those of the images.

Every metric is then measured against the images, so that all values stem from one reference, and
the statistics are a check of them. Published ones may well be of more images: those in ADM's
reference batches are of whole datasets, of which the file holds 10,000 images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.features.base import Extractor
from evaluation.imagesets.arrays import NAMES, open_npz
from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.frechet import ReferenceGaussian, gaussian_distance
from evaluation.scoring.references import SavedReference, is_statistics, read_statistics

# Of the trace of sigma. Features of TensorFlow's Inception agree with those of its converted
# weights to about 1e-3, which is 1e-6 to 1e-5 here; half of a small dataset is 1e-3 from all of it.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class StatisticsCheck:
    """How far published statistics are from those of the images beside them.

    digest: of the statistics, as `reference list` shows it for imported ones.
    distance: Fréchet distance between both.
    relative: the distance as a share of the trace of the published covariance.
    """

    digest: str
    distance: float
    relative: float

    @property
    def agree(self) -> bool:
        """Return whether the statistics are those of the images, within the tolerance."""
        return self.relative <= TOLERANCE

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return vars(self) | {"tolerance": TOLERANCE, "agree": self.agree}


def has_images_too(path: Path) -> bool:
    """Return whether a file is an `.npz` with `mu`, `sigma` and images."""
    if not is_statistics(path):
        return False
    arrays = open_npz(path)
    return any(name in arrays and arrays[name].dtype == "uint8" for name in NAMES)


def published_beside(
    reference: ImageStream | SavedReference, path: Path, extractor: Extractor
) -> SavedReference | None:
    """Return the statistics beside the images of a reference, if they may be the extractor's.

    path: of the file that the reference was opened from.

    Raises:
        SavedReferenceError: if they have the width of its features, but are not a finite mean
            and covariance.
    """
    if isinstance(reference, SavedReference) or not has_images_too(path):
        return None
    if open_npz(path)["mu"].shape != (extractor.dim,):
        return None
    return read_statistics(path, extractor_name=extractor.name)


def check_statistics(published: SavedReference, images: ReferenceGaussian) -> StatisticsCheck:
    """Return how far published statistics are from the Gaussian of the images beside them."""
    distance = max(gaussian_distance(published.gaussian, images), 0.0)  # below by rounding alone
    trace = published.gaussian.trace
    relative = distance / trace if trace > 0 else float(distance > 0)
    return StatisticsCheck(published.facts.digest, distance, relative)
