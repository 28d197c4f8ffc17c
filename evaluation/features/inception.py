"""Inception v3 of 2015-12-05 with the values of torch-fidelity's: what FID is defined on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.cores import on_each_core
from evaluation.features.inception_network import SIDE, InceptionNetwork
from evaluation.features.resize import resize_bilinear
from evaluation.features.weights import PublishedWeights, build_from_file
from evaluation.imagesets.atomic import sha256_of
from evaluation.protocols.extractor_specs import INCEPTION, INCEPTION_2015_SHA256
from evaluation.protocols.extractors import EXTRACTORS

SPEC = EXTRACTORS[INCEPTION]
FILE_NAME = SPEC.known_weights[INCEPTION_2015_SHA256]
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"
MAX_BYTES = 200 * 2**20  # the known file has 91 MiB
AT_ONCE_PER_CORE = 4  # images whose layers stay in the cache: with more, a core waits for memory


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
        self.weights_sha256 = sha256_of(weights)
        network = build_from_file(weights, InceptionNetwork, name=INCEPTION).to(self.device)
        self._network: Callable[[Tensor], tuple[Tensor, Tensor]] = network
        self._compiled = compile_backend is not None
        if compile_backend is not None:
            self._network = torch.compile(network, backend=compile_backend)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 2048) and logits (N, 1008), grey images replicated to RGB.

        Images are resized to 299x299, bilinear as in TensorFlow 1, and scaled as (x - 128) / 128.
        """
        if self.device.type != "cpu" or self._compiled:
            return self._features(images)
        found = on_each_core(self._features, images.split(AT_ONCE_PER_CORE))
        features, logits = zip(*found, strict=True)
        return torch.cat(features), torch.cat(logits)

    @torch.inference_mode()  # of the thread that calls: every thread has to say so itself
    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = resize_bilinear(images.expand(-1, 3, -1, -1), SIDE)
        return self._network(x.sub_(128).div_(128))


def find_weights(
    cache: Path, *, url: str = URL, sha256: str = INCEPTION_2015_SHA256, name: str = FILE_NAME
) -> Path:
    """Return the known weights file in the folder ``cache``, downloaded once if it is not there.

    Raises:
        ExtractorError: if there is no such file and none can be downloaded, or the digest is wrong;
            it names the file, its sha256 and where to put it.
    """
    return PublishedWeights(
        owner="Inception", name=name, url=url, sha256=sha256, max_bytes=MAX_BYTES
    ).find(cache)
