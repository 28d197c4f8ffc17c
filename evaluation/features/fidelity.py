"""Any feature extractor of torch-fidelity's registry, from a local weights file."""

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_clip import MODEL_METADATA
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from evaluation.features.base import (
    Extractor,
    ExtractorError,
    ExtractorRequest,
    content_sha256,
)
from evaluation.features.weights import build_from_file
from evaluation.imagesets.atomic import sha256_of
from evaluation.protocols.extractor_specs import FIDELITY_PREFIX, INCEPTION_2015_SHA256
from evaluation.protocols.extractors import get_extractor

# What torch-fidelity would download. It is never let to: it also unpickles whatever it gets.
WANTED = {
    "inception-v3-compat": "weights-inception-2015-12-05-6726825d.pth "
    f"(sha256 {INCEPTION_2015_SHA256})",
    "vgg16": "vgg16-397923af.pth, as torchvision publishes it",
}


def build(request: ExtractorRequest) -> Extractor:
    """Return the extractor of torch-fidelity that a request names.

    Raises:
        ExtractorError: if there is none, or no weights file that can be trusted.
    """
    return FidelityExtractor(request.name, request.weights, device=request.device)


class FidelityExtractor(Extractor):
    """Features (N, D) of the layer that torch-fidelity reads for its Fréchet distance."""

    has_logits = False
    batch_size = 32

    def __init__(
        self,
        name: str,  # "torch-fidelity/…"
        weights: Path | None,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load weights that hold tensors alone; ``dim`` is found by trying.

        An extractor that was registered besides torch-fidelity's own may have no weights file: its
        digest is then that of its parameters.

        Raises:
            ExtractorError: if there is no such extractor, or no weights file that can be trusted.
        """
        registered = name.removeprefix(FIDELITY_PREFIX)
        if registered not in FEATURE_EXTRACTORS_REGISTRY:
            known = ", ".join(sorted(FEATURE_EXTRACTORS_REGISTRY))
            raise ExtractorError(f"torch-fidelity has {known}; got {registered!r}")
        self.name = name
        self.layer = get_extractor(name).layer
        self.device = torch.device(device)
        self._network = _build(registered, weights).to(self.device).eval().requires_grad_(False)
        self.weights_sha256 = (
            _parameters_sha256(self._network) if weights is None else sha256_of(weights)
        )
        self.recipe: dict[str, Any] = {"layer": self._network.features_list[0]}
        probe = torch.zeros(1, 3, 64, 64, dtype=torch.uint8, device=self.device)
        with torch.inference_mode():
            self.dim = self.forward(probe)[0].shape[1]

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features (N, D), grey images replicated to RGB."""
        (features,) = self._network(images.expand(-1, 3, -1, -1))
        return features.flatten(1), None


def _build(registered: str, weights: Path | None) -> Any:
    own_kind = FEATURE_EXTRACTORS_REGISTRY[registered]
    layers = [own_kind.get_default_feature_layer_for_metric("fid")]
    if registered.startswith("dinov2"):
        raise ExtractorError(
            f"torch-fidelity reads {registered} from no file: it downloads code. The extractor "
            "dinov2-vit-l-14, without the prefix, reads the large one"
        )
    if weights is None:
        _refuse_download(registered)
        return own_kind(registered, layers, verbose=False)
    if not weights.is_file():
        raise ExtractorError(f"weights of {registered} not found: {weights}")
    if registered in MODEL_METADATA:
        _expect_clip(registered, weights)
        return own_kind(
            registered, layers, feature_extractor_weights_path=str(weights), verbose=False
        )

    def build(state: dict[str, Tensor]) -> Any:
        # torch-fidelity unpickles whatever file it is given. It gets these bytes, written here from
        # tensors that were read without running code, and never the file itself.
        checked = io.BytesIO()
        torch.save({name: torch.as_tensor(value) for name, value in state.items()}, checked)
        checked.seek(0)
        return own_kind(registered, layers, feature_extractor_weights_path=checked, verbose=False)

    return build_from_file(weights, build, name=registered)


def _refuse_download(registered: str) -> None:
    wanted = WANTED.get(registered)
    if registered in MODEL_METADATA:
        known = MODEL_METADATA[registered]
        wanted = f"{known['filename']}.pt of CLIP (sha256 {known['hash']})"
    if wanted is not None:
        raise ExtractorError(
            f"torch-fidelity's {registered} needs a local weights file: {wanted}. "
            "Name it with --weights"
        )


def _expect_clip(registered: str, weights: Path) -> None:
    """Refuse any file but the published one: these are archives of code as well as tensors."""
    expected, found = MODEL_METADATA[registered]["hash"], sha256_of(weights)
    if found != expected:
        raise ExtractorError(
            f"{weights} is not the published file of {registered}: "
            f"expected sha256 {expected}, got {found}"
        )


def _parameters_sha256(network: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {content_sha256(value.cpu().numpy())};".encode())
    return digest.hexdigest()
