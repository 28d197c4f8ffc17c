"""Discretised mixtures of logistics: a likelihood of 256 levels for every pixel value.

Salimans et al., 2017, "PixelCNN++: improving the PixelCNN with discretized logistic mixture
likelihood and other modifications", section 2.1-2.2: the logistic's mass in a level's bin, the
outermost bins reaching to infinity; of three channels, the means of the second and the third
depend linearly on the values before them. With one channel there is nothing to couple.

Deviation: the mass of an inner bin (l, u) is sigmoid(u) sigmoid(-l) (1 - exp(l - u)), which needs
no fallback to the density where the difference of two sigmoids vanishes.
"""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

HALF_BIN = 1 / 255  # half a level on the [-1, 1] scale
SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE = -7.0, 7.0  # beyond, logarithms of masses overflow


def parameters_per_pixel(channels: int, mixtures: int) -> int:
    """Return how many numbers describe one pixel's distribution."""
    return mixtures * (1 + 2 * channels + len(_pairs(channels)))


class LogisticMixtures:
    """The distributions of every pixel of a batch of images."""

    def __init__(self, parameters: Tensor, channels: int) -> None:
        """Read the parameters.

        Args:
            parameters: (N, `parameters_per_pixel(channels, K)`, H, W); taken in float32.
            channels: of the images.
        """
        per_channel = parameters.float().unflatten(
            1, (1 + 2 * channels + len(_pairs(channels)), -1)
        )
        logits, means, log_scales, couplings = per_channel.split(
            [1, channels, channels, len(_pairs(channels))], dim=1
        )
        self.channels = channels
        self.logits = logits[:, 0]  # (N, K, H, W)
        self.means = means  # (N, C, K, H, W)
        self.log_scales = log_scales.clamp(SMALLEST_LOG_SCALE, LARGEST_LOG_SCALE)  # as means
        self.couplings = couplings.tanh()  # (N, pairs, K, H, W)

    def log_probability(self, images: Tensor) -> Tensor:
        """Return the log probability of each image in nats, (N,); images of 256 levels."""
        x = images.unsqueeze(2)  # (N, C, 1, H, W)
        centred = x - self._centres(list(x.unbind(1)))
        inverse_scale = torch.exp(-self.log_scales)
        below = F.logsigmoid(inverse_scale * (centred + HALF_BIN))  # log of the mass below u
        above = F.logsigmoid(inverse_scale * (HALF_BIN - centred))  # log of the mass above l
        within = torch.log(-torch.expm1(-2 * HALF_BIN * inverse_scale)) + below + above
        masses = torch.where(x < HALF_BIN - 1, below, torch.where(x > 1 - HALF_BIN, above, within))
        joint = F.log_softmax(self.logits, dim=1) + masses.sum(1)
        log_probability: Tensor = torch.logsumexp(joint, dim=1).sum((1, 2))
        return log_probability

    def mean(self) -> Tensor:
        """Return the mean of the components' centres, (N, C, H, W) in [-1, 1]."""
        values = self._one_by_one(lambda _, centre: centre)  # (N, C, K, H, W)
        mean: Tensor = (values * self.logits.softmax(1).unsqueeze(1)).sum(2)
        return mean.clamp(-1, 1)  # the weights' sum may be rounded up

    def sample(self, choice: Tensor, noise: Tensor) -> Tensor:
        """Return values drawn from the mixtures, (N, C, H, W) in [-1, 1].

        Args:
            choice: (N, K, H, W) uniform in (0, 1), to choose components by.
            noise: (N, C, H, W) uniform in (0, 1).
        """
        gumbel = -torch.log(-torch.log(choice))
        chosen = (self.logits + gumbel).argmax(1, keepdim=True).unsqueeze(1)  # (N, 1, 1, H, W)
        logistic = torch.logit(noise).unsqueeze(2)  # (N, C, 1, H, W)
        values = self._one_by_one(
            lambda channel, centre: (
                centre + self.log_scales[:, channel].exp() * logistic[:, channel]
            )
        )
        return values.gather(2, chosen.expand(-1, self.channels, -1, -1, -1)).squeeze(2)

    def _centres(self, values: list[Tensor]) -> Tensor:
        """Return the components' centres given each channel's value, (N, C, K, H, W)."""
        return torch.stack([self._centre(i, values) for i in range(self.channels)], dim=1)

    def _centre(self, channel: int, values: list[Tensor]) -> Tensor:
        """Return the components' centres of a channel, (N, K, H, W), given those before it."""
        centre: Tensor = self.means[:, channel]
        for index, (earlier, later) in enumerate(_pairs(self.channels)):
            if later == channel:
                centre = centre + self.couplings[:, index] * values[earlier]
        return centre

    def _one_by_one(self, value: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Return every component's values, channel after channel, (N, C, K, H, W) in [-1, 1].

        Args:
            value: of a channel, given its centre.
        """
        values: list[Tensor] = []
        for channel in range(self.channels):
            values.append(value(channel, self._centre(channel, values)).clamp(-1, 1))
        return torch.stack(values, dim=1)


def _pairs(channels: int) -> list[tuple[int, int]]:
    """Return which channel depends on which: (earlier, later), ordered by the later."""
    return sorted(combinations(range(channels), 2), key=lambda pair: pair[1])
