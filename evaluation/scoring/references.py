"""Saves references by name: features of real images, or the mean and covariance someone published.

A reference of images holds features, logits, labels, the digest of every image and the Gaussian of
the features, so that nothing is computed twice. A reference of statistics holds a Gaussian alone:
only the Fréchet distance is defined on it. Each is one file in the folder `references`, which the
cache leaves alone.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from evaluation.features.base import Extractor, FeatureSet
from evaluation.features.cache import FeatureCache
from evaluation.features.tensorfiles import DamagedFile, read_facts, read_tensors, write_tensors
from evaluation.imagesets.arrays import StoredArray, open_npz
from evaluation.imagesets.sources import ImageError
from evaluation.imagesets.stream import ImageStream
from evaluation.metrics.frechet import ReferenceGaussian, gaussian_from_moments, reference_gaussian
from evaluation.metrics.moments import Moments
from evaluation.protocols.extractors import get_extractor

logger = logging.getLogger(__name__)

FOLDER = "references"
SUFFIX = ".safetensors"
SHORTEST_PREFIX = 6  # digits of a digest that may name a reference
ASYMMETRY = 1e-5  # of the largest entry: covariances stored in float32 are symmetric to 1e-7
NEGATIVE = 1e-4  # of the largest eigenvalue: those stored in float32 go below zero by 1e-6

Kind = Literal["images", "statistics"]


class SavedReferenceError(ValueError):
    """A reference cannot be saved or found; the message says why."""


@dataclass(frozen=True)
class ReferenceFacts:
    """What a saved reference is, without its tensors.

    digest: of the images, or of the float64 bytes of mean and covariance.
    count: images behind it; 0 = not known.
    extractor, layer, dim, weights_sha256: what made the features; "" = not known.
    shape: (C, H, W) of the images as they were extracted; None for statistics.
    rule: how they became so, in words.
    package: name and version of the package that brings the extractor; "" = built in.
    lossy: images known to come from lossy files.
    """

    name: str
    kind: Kind
    digest: str
    count: int
    extractor: str
    layer: str
    dim: int
    weights_sha256: str
    shape: tuple[int, int, int] | None
    rule: str
    package: str = ""
    lossy: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        record = asdict(self) | {"shape": None if self.shape is None else list(self.shape)}
        unsaid = {name for name in ("package", "lossy") if not record[name]}
        return {name: value for name, value in record.items() if name not in unsaid}


@dataclass(frozen=True, eq=False)
class SavedReference:
    """A reference as it was saved; a reference of statistics has the Gaussian alone.

    labels: (N,) int64, indices into `classes`; None = unlabelled.
    image_digests: sha256 of each image, 32 bytes each.
    """

    facts: ReferenceFacts
    gaussian: ReferenceGaussian
    features: FeatureSet | None
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...]
    image_digests: list[bytes] | None


def build_reference(
    folder: Path,  # of the cache
    name: str,
    images: ImageStream,
    extractor: Extractor,
    *,
    rule: str = "",  # how the images became what they are: part, channels, size
    replace: bool = False,  # a reference of that name that is another one
    cache: FeatureCache | None = None,  # where features are looked up; None = they are computed
    batch_size: int | None = None,  # None = the extractor's own
    on_progress: Callable[[float], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> ReferenceFacts:
    """Save the features of all images, and what is computed from them once, under a name.

    Raises:
        SavedReferenceError: if the name is invalid or taken, or there are fewer than two images.
        ImageError: if the images cannot be read.
        ExtractionStopped: if ``should_stop()`` turned true; nothing is left behind.
    """
    path = _path(folder, name)
    found = (cache or FeatureCache(None)).features(
        extractor,
        images,
        rule=rule,
        batch_size=batch_size,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    count, dim = found.features.shape
    if count < 2:
        raise SavedReferenceError(f"{images.name}: {count} image; expected at least 2")
    facts = ReferenceFacts(
        name=name,
        kind="images",
        digest=images.digest(),
        count=count,
        extractor=extractor.name,
        layer=extractor.layer,
        dim=dim,
        weights_sha256=extractor.weights_sha256,
        shape=images.shape,
        rule=rule,
        package=extractor.package,
        lossy=images.lossy_count,
    )
    tensors = {"features": found.features, **gaussian_tensors(reference_gaussian(found.features))}
    tensors["digests"] = torch.tensor(bytearray(b"".join(images.digests())), dtype=torch.uint8)
    if found.logits is not None:
        tensors["logits"] = found.logits
    if images.labels is not None:
        tensors["labels"] = torch.from_numpy(images.labels)
    _save(path, facts, tensors, images.classes, replace=replace)
    return facts


def import_statistics(
    path: Path,
    *,
    name: str,
    extractor_name: str,  # that made the features behind the statistics
    folder: Path,  # of the cache
    weights_sha256: str = "",  # of that extractor; "" = not known
    count: int = 0,  # images behind the statistics; 0 = not known
    replace: bool = False,  # a reference of that name that is another one
) -> ReferenceFacts:
    """Save the mean and covariance of an `.npz` file with `mu` (D,) and `sigma` (D, D).

    That is how TTUR, pytorch-fid, clean-fid, guided-diffusion and EDM publish them; other arrays in
    the file are ignored. Nothing is unpickled.

    Raises:
        SavedReferenceError: if they are not a finite mean and covariance of that extractor's
            width, or the name is invalid or taken.
        ValueError: if there is no such extractor.
    """
    place = _path(folder, name)
    found = read_statistics(
        path, name=name, extractor_name=extractor_name, weights_sha256=weights_sha256, count=count
    )
    _save(place, found.facts, gaussian_tensors(found.gaussian), (), replace=replace)
    return found.facts


def is_statistics(path: Path) -> bool:
    """Return whether a file is an `.npz` with `mu` and `sigma`, whatever they are."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    return {"mu", "sigma"} <= open_npz(path).keys()


def read_statistics(
    path: Path,
    *,
    extractor_name: str,  # that made the features behind the statistics
    name: str = "",  # "" = that of the file
    weights_sha256: str = "",  # of that extractor; "" = not known
    count: int = 0,  # images behind the statistics; 0 = not known
) -> SavedReference:
    """Return the mean and covariance of a published file as a reference that is not saved.

    Raises:
        SavedReferenceError: if they are not a finite mean and covariance of that extractor's width.
        ValueError: if there is no such extractor.
    """
    spec = get_extractor(extractor_name)
    mean, covariance = _read_statistics(path)
    if spec.dim is not None and len(mean) != spec.dim:
        raise SavedReferenceError(
            f"{path.name}: mu has {len(mean)} values; expected the {spec.dim} of {extractor_name}"
        )
    facts = ReferenceFacts(
        name=name or path.stem,
        kind="statistics",
        digest=statistics_digest(mean, covariance),
        count=count,
        extractor=extractor_name,
        layer=spec.layer,
        dim=len(mean),
        weights_sha256=weights_sha256,
        shape=None,
        package=" ".join(spec.package.values()),
        rule=f"imported from {path.name}",
    )
    moments = Moments(count=count, mean=mean, covariance=(covariance + covariance.T) / 2)
    return SavedReference(
        facts=facts,
        gaussian=gaussian_from_moments(moments),
        features=None,
        labels=None,
        classes=(),
        image_digests=None,
    )


def statistics_digest(mean: npt.NDArray[np.float64], covariance: npt.NDArray[np.float64]) -> str:
    """Return the sha256 of the little-endian float64 bytes of (D,) and, row by row, of (D, D)."""
    parts = [np.ascontiguousarray(array, "<f8").tobytes() for array in (mean, covariance)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def list_references(folder: Path) -> list[ReferenceFacts]:
    """Return what is saved in a cache folder, by name; damaged files are left out and logged."""
    found = []
    for path in sorted((folder / FOLDER).glob(f"[!.]*{SUFFIX}")):
        try:
            found.append(_facts_of(path, read_facts(path))[0])
        except (DamagedFile, SavedReferenceError, FileNotFoundError) as error:
            logger.warning("left out: %s is damaged: %s", path, error)
    return found


def load_reference(folder: Path, name_or_digest: str) -> SavedReference:
    """Return the reference of that name, or the only one whose digest begins so.

    Raises:
        SavedReferenceError: if there is none, or more than one, or its file is damaged.
    """
    path = _find(folder, name_or_digest)
    try:
        tensors, saved = read_tensors(path)
    except (DamagedFile, FileNotFoundError) as error:
        raise SavedReferenceError(
            f"reference {path.stem}: damaged ({error}); build or import it again"
        ) from error
    facts, classes = _facts_of(path, saved)
    labels, digests = tensors.get("labels"), tensors.get("digests")
    features = None
    if facts.kind == "images":
        features = FeatureSet(features=tensors["features"], logits=tensors.get("logits"))
    return SavedReference(
        facts=facts,
        gaussian=gaussian_of(tensors, facts.count),
        features=features,
        labels=None if labels is None else labels.numpy(),
        classes=classes,
        image_digests=None if digests is None else _split(digests.numpy().tobytes()),
    )


def _path(folder: Path, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise SavedReferenceError(
            f"expected a name of 1 to 100 letters, digits, dots, dashes and underscores that begins "
            f"with a letter or digit, got {name!r}"
        )
    return folder / FOLDER / f"{name}{SUFFIX}"


def _find(folder: Path, name_or_digest: str) -> Path:
    path = _path(folder, name_or_digest)
    if path.is_file():
        return path
    saved = list_references(folder)
    begins = [facts for facts in saved if facts.digest.startswith(name_or_digest.lower())]
    if len(name_or_digest) < SHORTEST_PREFIX or not begins:
        names = ", ".join(facts.name for facts in saved) or "none"
        raise SavedReferenceError(f"no reference {name_or_digest!r}; there is: {names}")
    if len(begins) > 1:
        names = ", ".join(facts.name for facts in begins)
        raise SavedReferenceError(f"{name_or_digest} begins the digests of {names}; expected one")
    return _path(folder, begins[0].name)


def _save(
    path: Path,
    facts: ReferenceFacts,
    tensors: dict[str, Tensor],
    classes: tuple[str, ...],
    *,
    replace: bool,
) -> None:
    if path.exists() and not replace:
        try:
            taken = _facts_of(path, read_facts(path))[0]
        except (DamagedFile, SavedReferenceError, FileNotFoundError):
            taken = None  # a damaged file may be replaced
        if taken is not None and taken != facts:
            raise SavedReferenceError(
                f"{facts.name} is another reference: {taken.count} images of digest "
                f"{taken.digest[:12]} by {taken.extractor}; expected a name that is free"
            )
    saved = {"facts": json.dumps(facts.to_record()), "classes": json.dumps(classes)}
    write_tensors(path, tensors, saved)


def _facts_of(path: Path, saved: dict[str, str]) -> tuple[ReferenceFacts, tuple[str, ...]]:
    try:
        record, classes = json.loads(saved["facts"]), json.loads(saved["classes"])
        shape = record.pop("shape")
        facts = ReferenceFacts(**record, shape=None if shape is None else tuple(shape))
    except (KeyError, TypeError, ValueError) as error:
        raise SavedReferenceError(f"reference {path.stem}: no facts ({error})") from error
    return facts, tuple(classes)


def gaussian_tensors(gaussian: ReferenceGaussian) -> dict[str, Tensor]:
    """Return a Gaussian as plain tensors."""
    return {
        "mean": gaussian.mean,
        "trace": torch.tensor(gaussian.trace, dtype=torch.float64),
        "factor": gaussian.factor,
    }


def gaussian_of(tensors: dict[str, Tensor], count: int) -> ReferenceGaussian:
    """Return the Gaussian that ``gaussian_tensors`` took apart, of ``count`` images."""
    return ReferenceGaussian(
        mean=tensors["mean"],
        trace=float(tensors["trace"]),
        factor=tensors["factor"],
        count=count,
    )


def _split(digests: bytes) -> list[bytes]:
    return [digests[at : at + 32] for at in range(0, len(digests), 32)]


# --- Published statistics ---------------------------------------------------------------------


def _read_statistics(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    try:
        arrays = open_npz(path)
        if not {"mu", "sigma"} <= arrays.keys():
            held = ", ".join(sorted(arrays)) or "nothing"
            raise SavedReferenceError(f"{path.name}: holds {held}; expected mu and sigma")
        mean, covariance = _floats(arrays["mu"], 1), _floats(arrays["sigma"], 2)
    except ImageError as error:  # a damaged archive, or one that lies about its sizes
        raise SavedReferenceError(str(error)) from error
    if covariance.shape != (len(mean), len(mean)):
        raise SavedReferenceError(
            f"{path.name}: mu {mean.shape} and sigma {covariance.shape}; expected (D,) and (D, D)"
        )
    _check_covariance(f"{path.name}: sigma", covariance)
    return mean, covariance


def _floats(array: StoredArray, ndim: int) -> npt.NDArray[np.float64]:
    if array.dtype.kind != "f" or len(array.shape) != ndim or 0 in array.shape:
        raise SavedReferenceError(
            f"{array.where}: {array.dtype} {array.shape}; expected floats of {ndim} axes"
        )
    values = array.whole().astype(np.float64)
    if wrong := int((~np.isfinite(values)).sum()):
        raise SavedReferenceError(f"{array.where}: {wrong} NaN or infinite values; expected none")
    return values


def _check_covariance(where: str, covariance: npt.NDArray[np.float64]) -> None:
    scale = float(abs(covariance).max())
    asymmetry = float(abs(covariance - covariance.T).max())
    if asymmetry > ASYMMETRY * scale:
        raise SavedReferenceError(
            f"{where}: not symmetric by {asymmetry:.3g}; expected a covariance"
        )
    symmetric = torch.from_numpy((covariance + covariance.T) / 2)
    eigenvalues = torch.linalg.eigvalsh(symmetric)
    if float(eigenvalues[0]) < -NEGATIVE * float(eigenvalues[-1]):
        raise SavedReferenceError(
            f"{where}: has the eigenvalue {float(eigenvalues[0]):.3g}; expected a covariance, "
            "without any below zero"
        )
