"""Inception v3 of 2015-12-05 as torch-fidelity ports it: the features that FID is defined on."""

import hashlib
import io
import os
import uuid
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from evaluation.extractors.base import Extractor, ExtractorError, file_sha256
from evaluation.specs import EXTRACTORS, INCEPTION, INCEPTION_2015_SHA256

SPEC = EXTRACTORS[INCEPTION]
FILE_NAME = SPEC.known_weights[INCEPTION_2015_SHA256]
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
TIMEOUT_SECONDS = 30
MAX_BYTES = 200 * 2**20  # the known file has 91 MiB


class InceptionExtractor(Extractor):
    """Inception features: 2048 after the last pooling, and 1008 logits without their bias."""

    name = SPEC.name
    layer = SPEC.layer
    dim = 2048
    recipe: Mapping[str, Any] = {}
    batch_size = 32  # 299x299 images: larger batches spend their time on fresh memory

    def __init__(self, weights: Path, *, device: str | torch.device = "cpu") -> None:
        """Load a local weights file, whose sha256 decides whether values may be called FID.

        Raises:
            ExtractorError: if the file is missing or holds no weights of this network.
        """
        if not weights.is_file():
            raise ExtractorError(f"Inception weights not found: {weights}")
        self.device = torch.device(device)
        self.weights_sha256 = file_sha256(weights)
        self._network = _build_network(weights).to(self.device)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and logits (N, 1008), grey images replicated to RGB.

        The network itself resizes to 299x299, bilinear as in TensorFlow 1.
        """
        features, logits = self._network(images.expand(-1, 3, -1, -1))
        return features, logits


def _build_network(weights: Path) -> FeatureExtractorInceptionV3:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        # torch-fidelity unpickles whatever file it is given. It gets these bytes, written here from
        # tensors that were read without running code, and never the file itself.
        checked = io.BytesIO()
        torch.save({name: torch.as_tensor(value) for name, value in state.items()}, checked)
        checked.seek(0)
        return FeatureExtractorInceptionV3(
            INCEPTION, [SPEC.layer, SPEC.logits_layer], feature_extractor_weights_path=checked
        )
    except Exception as error:  # torch raises half a dozen types for half a dozen kinds of damage
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExtractorError(f"{weights} holds no weights of {INCEPTION}: {first_line}") from error


def find_weights(
    cache: Path, *, url: str = URL, sha256: str = INCEPTION_2015_SHA256, name: str = FILE_NAME
) -> Path:
    """Return the known weights file in the folder ``cache``, downloaded once if it is not there.

    Raises:
        ExtractorError: if there is no such file and none can be downloaded, or the digest is wrong;
            it names the file, its sha256 and where to put it.
    """
    path = cache / name
    if path.is_file():
        found = file_sha256(path)
        if found != sha256:
            raise ExtractorError(f"{path} is damaged: expected sha256 {sha256}, got {found}")
        return path
    try:
        _download(url, path, sha256)
    except (OSError, HTTPException, ExtractorError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise ExtractorError(
            f"Inception weights are missing and cannot be downloaded ({error}). "
            f"Put the file {name} (sha256 {sha256}) at {path}, or name the file with --weights. "
            f"It is published at {url}"
        ) from error
    return path


def _download(url: str, path: Path, sha256: str) -> None:
    """Write what ``url`` offers to ``path``: all of it with the right digest, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with (
            urlopen(url, timeout=TIMEOUT_SECONDS) as response,  # noqa: S310 - our own URL
            part.open("xb") as file,
        ):
            while chunk := response.read(2**20):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise ExtractorError(f"{url} offers more than {MAX_BYTES} bytes")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise ExtractorError(f"{url} offers a file of sha256 {digest.hexdigest()}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
