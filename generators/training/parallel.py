"""Training in several processes: each has a share of every batch, gradients are averaged.

The processes hold the same weights, averages and optimisers, step by step; `torchrun` starts them.
Gradients are averaged by one call for all of a phase's parameters rather than by torch's
DistributedDataParallel, whose hooks know neither several phases nor double backward passes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, distributed, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


@dataclass(frozen=True)
class Team:
    """The processes of one training, and which of them this is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Self:
        """Return the team this process was started in; alone it is a team of one."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, start: int, count: int) -> tuple[int, int]:
        """Return where this process's part of `count` images from `start` begins, and its size.

        Raises:
            ValueError: if the images cannot be shared out evenly.
        """
        if count % self.size:
            raise ValueError(f"expected batches and a budget of a multiple of {self.size} images")
        part = count // self.size
        return start + self.rank * part, part

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the team."""
        if self.size > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            flat = _flatten_dense_tensors(gradients)
            distributed.all_reduce(flat)
            _copy_into(gradients, flat / self.size)

    def share_buffers(self, networks: Iterable[nn.Module]) -> None:
        """Replace every buffer (statistics of batches, codebooks) by the first process's."""
        if self.size > 1:
            for buffer in (b for network in networks for b in network.buffers()):
                distributed.broadcast(buffer, src=0)

    def wait(self) -> None:
        """Wait until every process of the team has come here."""
        if self.size > 1:
            distributed.barrier()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process; every process must ask."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=device)
        distributed.all_reduce(votes)
        return bool(votes.item())


def _copy_into(tensors: Sequence[Tensor], flat: Tensor) -> None:
    for tensor, new in zip(tensors, _unflatten_dense_tensors(flat, tensors), strict=True):
        tensor.copy_(new)


@contextmanager
def joined() -> Iterator[str | None]:
    """Join the team `torchrun` has started this process in, if any; yield its CUDA device."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield None
        return
    on_gpu = torch.cuda.is_available()
    device = torch.device(f"cuda:{os.environ['LOCAL_RANK']}" if on_gpu else "cpu")
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        device_id=device if on_gpu else None,  # or barriers would guess which GPU is whose
    )
    try:
        yield str(device)
    finally:
        distributed.destroy_process_group()
