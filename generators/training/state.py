"""Everything that training changes: networks, their averages and the optimisers' moments."""

from collections.abc import Mapping

import torch
from torch import Tensor

from generators.algorithm.contract import Algorithm
from generators.algorithm.numerics import memory_format
from generators.training import ema
from generators.training.muon import Muon

Optimisers = dict[str, torch.optim.Optimizer]
OPTIMISERS = {"adamw": torch.optim.AdamW, "muon": Muon}


class TrainingState:
    """An algorithm's networks on a device, with averages and one optimiser per phase."""

    def __init__(
        self, algorithm: Algorithm, device: torch.device, *, compiled: bool = False
    ) -> None:
        self.layout = memory_format(device, algorithm.networks.values())  # of images as well
        self.networks = {
            name: net.to(device).to(memory_format=self.layout)
            for name, net in algorithm.networks.items()
        }
        averaged = (*algorithm.sampling_networks, *algorithm.other_networks)
        self._averages = [ema.Average(self.networks[name]) for name in averaged]
        self.averages = {n: a.network for n, a in zip(averaged, self._averages, strict=True)}
        self.phases = algorithm.phases()
        self.parameters = {
            phase.name: [p for name in phase.networks for p in self.networks[name].parameters()]
            for phase in self.phases
        }  # that a phase moves
        self.optimisers: Optimisers = {
            phase.name: OPTIMISERS[phase.optimiser](
                self.parameters[phase.name],
                lr=phase.learning_rate,
                betas=phase.betas,
                weight_decay=phase.weight_decay,
                fused=True,
            )
            for phase in self.phases
        }
        for name in algorithm.compilable if compiled else ():
            self.networks[name].compile()  # in place: names of weights stay as they are

    def average(self, beta: float) -> None:
        """Move every average towards its network by 1 - beta."""
        for average in self._averages:
            average.update(beta)

    def finite(self) -> bool:
        """Return whether every weight is finite."""
        networks = (*self.networks.values(), *self.averages.values())
        sums = [p.detach().float().sum() for network in networks for p in network.parameters()]
        return bool(torch.stack(sums).isfinite().all())

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name: `network/…`, `ema/…`, `optimiser/<phase>/<index>/…`."""
        found: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            found |= {f"network/{name}/{key}": t for key, t in network.state_dict().items()}
        for name, average in self.averages.items():
            found |= {f"ema/{name}/{key}": t for key, t in average.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                found |= {f"optimiser/{name}/{index}/{key}": t for key, t in moments.items()}
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put every tensor back.

        Raises:
            RuntimeError: if a tensor is missing, superfluous or of the wrong shape.
        """
        for name, network in self.networks.items():
            network.load_state_dict(with_prefix(tensors, f"network/{name}/"))
        for name, average in self.averages.items():
            average.load_state_dict(with_prefix(tensors, f"ema/{name}/"))
        for name, optimiser in self.optimisers.items():
            _load_moments(optimiser, with_prefix(tensors, f"optimiser/{name}/"))


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name begins with the prefix, without it."""
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def _load_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    for parameter, moments in optimiser.state.items():
        for key, value in moments.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                # files hold contiguous tensors; other strides than the weight's cost the fast path
                moments[key] = torch.empty_like(parameter).copy_(value)
