"""Where randomness comes from: seeds derived from names, and one stream of noise per image."""

import hashlib
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """Return a seed in 0..2^63-1 that depends on every part, the same in every process.

    SHA-256 rather than `hash`: Python salts the hash of text.
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """Return a generator on the device, seeded by `derive_seed(*parts)`."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))


class NoiseSource:
    """Standard normal noise for a batch of images, image i's from seed i alone.

    The generators live on the CPU, so that a seed means the same image on every device.

    Karras et al., 2022, "Elucidating the design space of diffusion-based generative models",
    use one generator per image in the same way.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._generators = [generator_for("cpu", "image", int(seed)) for seed in seeds]

    @classmethod
    def of(cls, generators: Sequence[torch.Generator], device: torch.device | str = "cpu") -> Self:
        """Return the noise of these streams, one for each image."""
        source = cls((), device)
        source._generators = list(generators)
        return source

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """Return the next noise of every image, (N, *shape) float32."""
        rows = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(rows).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Return the next uniform numbers in (0, 1) of every image, (N, *shape) float32."""
        uniform: Tensor = torch.special.ndtr(self.normal(*shape))
        return uniform.clamp(1e-7, 1 - 1e-7)


class InterpolatedNoise(NoiseSource):
    """Noise between that of two seeds, on the great circle through both: image i at weight i.

    Shoemake, 1985, "Animating rotation with quaternion curves" (slerp). Where both streams are
    standard normal, so is each point between them.
    """

    def __init__(
        self,
        first: int,
        second: int,
        weights: Sequence[float],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__((first, second), device)
        self._weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return len(self._weights)

    def normal(self, *shape: int) -> Tensor:
        """Return the next noise of every image, (N, *shape) float32."""
        a, b = super().normal(*shape)
        cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
        omega = torch.acos(cosine.clamp(-0.9999, 0.9999))
        w = self._weights.view(-1, *(1 for _ in shape))
        between: Tensor = torch.sin((1 - w) * omega) * a + torch.sin(w * omega) * b
        return between / torch.sin(omega)
