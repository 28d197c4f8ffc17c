"""A codebook of vectors that follows what is mapped to it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

RESTART_SHARE = 0.1  # of an even share, that a restarted code begins with


def perplexity(counts: Tensor) -> Tensor:
    """Return the number of evenly used codes with the same entropy, (); counts: (K,)."""
    shares = counts / counts.sum()
    return torch.exp(torch.special.entr(shares).sum())


def _as_rows(z: Tensor) -> Tensor:
    """Return the vectors of a grid one by one: (N, D, h, w) to (N * h * w, D)."""
    return z.permute(0, 2, 3, 1).flatten(0, 2)


class Codebook(nn.Module):
    """K vectors that follow the means of what is mapped to them; buffers alone, no gradients."""

    codes: Tensor  # (K, D)
    counts: Tensor  # (K,) vectors per batch mapped to each code, running mean
    sums: Tensor  # (K, D) of these vectors, running mean

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.zeros(size, dim))

    def nearest(self, z: Tensor) -> Tensor:
        """Return the nearest code of each vector, (N, h, w) int64; z: (N, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 cannot tell near codes apart
            rows = _as_rows(z.float())
            # |z - e|^2 without |z|^2, which all codes have in common
            distances = self.codes.square().sum(1) - 2 * rows @ self.codes.T
        return distances.argmin(1).view(len(z), *z.shape[2:])

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes, (N, D, h, w); codes: (N, h, w)."""
        vectors: Tensor = self.codes[codes].permute(0, 3, 1, 2)
        return vectors

    def mean_code(self) -> Tensor:
        """Return the mean of the vectors, as often as they are used, (D,)."""
        shares = (self.counts + 1e-6) / (self.counts + 1e-6).sum()
        mean: Tensor = shares @ self.codes
        return mean

    @torch.no_grad()
    def restart(self, z: Tensor, generator: torch.Generator, *, below: float) -> Tensor:
        """Put codes of less than `below` of an even share at random vectors; return how many.

        A restarted code has some share to lose before it can be restarted again. All are
        before their first batch.
        """
        rows = _as_rows(z)
        even = len(rows) / len(self.codes)
        dead = (self.counts < below * even) | (self.counts == 0)
        chosen = torch.randint(
            len(rows), self.counts.shape, generator=generator, device=rows.device
        )
        vectors = rows[chosen]
        dead &= torch.isfinite(vectors).all(1)
        self.codes.copy_(torch.where(dead[:, None], vectors, self.codes))
        count = RESTART_SHARE * even
        self.sums.copy_(torch.where(dead[:, None], vectors * count, self.sums))
        self.counts.copy_(torch.where(dead, count, self.counts))
        return dead.float().sum()

    @torch.no_grad()
    def follow(self, z: Tensor, codes: Tensor, *, decay: float) -> Tensor:
        """Move codes to the means of their vectors and return the vectors of each, (K,).

        Both running means are linear in the batch's; a batch that is not finite is left out.
        """
        with torch.autocast(z.device.type, enabled=False):
            rows = _as_rows(z.float())
            mapped = F.one_hot(codes.flatten(), len(self.codes)).float()
            counts, sums = mapped.sum(0), mapped.T @ rows
        finite = torch.isfinite(sums).all()
        for mean, value in ((self.counts, counts), (self.sums, sums)):
            mean.copy_(torch.where(finite, mean.lerp(value, 1 - decay), mean))
        used = finite & (self.counts > 1e-3)  # a code that fades away stays where it was
        moved = self.sums / self.counts.clamp_min(1e-3)[:, None]
        self.codes.copy_(torch.where(used[:, None], moved, self.codes))
        return counts
