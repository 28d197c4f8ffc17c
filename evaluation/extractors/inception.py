"""Inception v3 of 2015-12-05 with the values of torch-fidelity's: what FID is defined on."""

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import torch
from torch import Tensor

from evaluation.extractors.base import Extractor, ExtractorError, file_sha256
from evaluation.extractors.inception_network import SIDE, InceptionNetwork
from evaluation.extractors.resize import resize_bilinear
from evaluation.specs import EXTRACTORS, INCEPTION, INCEPTION_2015_SHA256

SPEC = EXTRACTORS[INCEPTION]
FILE_NAME = SPEC.known_weights[INCEPTION_2015_SHA256]
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
TIMEOUT_SECONDS = 30
MAX_BYTES = 200 * 2**20  # the known file has 91 MiB
AT_ONCE_ON_CPU = 4  # images whose widest layer stays in the cache: more would wait for memory


class InceptionExtractor(Extractor):
    """Inception features: 2048 after the last pooling, and 1008 logits without their bias.

    Equal to torch-fidelity's extractor of the same name to rounding (a few 1e-6 of the largest
    feature), and so is a batch of any size to any other.
    """

    name = SPEC.name
    layer = SPEC.layer
    dim = 2048
    recipe: Mapping[str, Any] = {}
    batch_size = 64

    def __init__(
        self,
        weights: Path,
        *,
        device: str | torch.device = "cpu",
        compile_backend: str | None = None,  # of torch.compile, such as "inductor"; None = as it is
    ) -> None:
        """Load a local weights file, whose sha256 decides whether values may be called FID.

        Compiling pays on a GPU and for many images; it changes values by rounding alone.

        Raises:
            ExtractorError: if the file is missing or holds no weights of this network.
        """
        if not weights.is_file():
            raise ExtractorError(f"Inception weights not found: {weights}")
        self.device = torch.device(device)
        self.weights_sha256 = file_sha256(weights)
        network = _load_network(weights).to(self.device)
        self._at_once = AT_ONCE_ON_CPU if self.device.type == "cpu" else None
        self._network: Callable[[Tensor], tuple[Tensor, Tensor]] = network
        if compile_backend is not None:
            self._network = torch.compile(network, backend=compile_backend)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and logits (N, 1008), grey images replicated to RGB.

        Images are resized to 299x299, bilinear as in TensorFlow 1, and scaled as (x - 128) / 128.
        """
        found = [
            self._network(resize_bilinear(few.expand(-1, 3, -1, -1), SIDE).sub_(128).div_(128))
            for few in images.split(self._at_once or len(images))
        ]
        features, logits = zip(*found, strict=True)
        return torch.cat(features), torch.cat(logits)


def _load_network(weights: Path) -> InceptionNetwork:
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        return InceptionNetwork(dict(state.items()))
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
