"""A stochastic layer's latent: Gaussians between which a draw was made, and their divergence."""

from typing import NamedTuple

import torch
from torch import Tensor


class Latent(NamedTuple):
    """A stochastic layer's draw, and the posterior and the prior it is between; (N, Z, H, W)."""

    z: Tensor
    mean: Tensor
    log_scale: Tensor
    prior_mean: Tensor
    prior_log_scale: Tensor


def kl_of_units(latent: Latent) -> Tensor:
    """Return KL(posterior || prior) of each unit in nats, (N, Z, H, W)."""
    log_scale = latent.log_scale - latent.prior_log_scale
    shift = (latent.mean - latent.prior_mean) * torch.exp(-latent.prior_log_scale)
    return 0.5 * (shift.square() + torch.exp(2 * log_scale) - 1) - log_scale


def kl_divergence(latent: Latent) -> Tensor:
    """Return KL(posterior || prior) in nats, (N,)."""
    return kl_of_units(latent).sum((1, 2, 3))


def log_ratio(latent: Latent) -> Tensor:
    """Return log prior(z) - log posterior(z) in nats, (N,)."""
    posterior = (latent.z - latent.mean) * torch.exp(-latent.log_scale)
    prior = (latent.z - latent.prior_mean) * torch.exp(-latent.prior_log_scale)
    log_scale = latent.log_scale - latent.prior_log_scale
    return (log_scale + 0.5 * (posterior.square() - prior.square())).sum((1, 2, 3))
