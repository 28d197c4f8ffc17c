"""About how much memory a training takes, found before it is needed."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from generators.algorithm.contract import Algorithm, Batch, Context, Phase, build_algorithm
from generators.specs.conditions import Conditions
from generators.specs.options import Shape, TrainingConfig
from generators.training.parallel import Team

logger = logging.getLogger(__name__)

FEW, MORE = 2, 3  # images whose activations are counted; batch normalisation wants two
GIGABYTE = 1e9
CONTAINERS = (  # where is said how much one may use, how much it does, and what for
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
CACHED = ("active_file", "inactive_file")  # of files, given up where the memory is needed


class TooLittleMemory(ValueError):
    """A training that cannot fit; the message says what it needs, and what may fit."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a training's tensors in float32."""

    state: int  # weights, their averages, gradients and the optimisers' two moments
    activations_fixed: int  # kept for the backward pass, whatever the number of images
    activations_per_image: int

    def total(self, images: int) -> int:
        """Return the bytes of a step whose forward passes have so many images."""
        return self.state + self.activations_fixed + images * self.activations_per_image


def estimate(
    algorithm: str, config: TrainingConfig, *, shape: Shape, conditions: Conditions
) -> Memory:
    """Return about what a training needs, from the forward passes of a few images of noise.

    Counted is what the backward pass needs, phase by phase. Not counted are what libraries take for
    themselves, and what lives for the length of one operation: peaks of four trainings on a processor
    were 0.9 to 1.25 times as high.
    """
    model = build_algorithm(algorithm, config, shape=shape, conditions=conditions, seed=0)
    with torch.random.fork_rng(devices=[]):
        few, more = (
            max(_kept(model, phase, images) for phase in model.phases()) for images in (FEW, MORE)
        )
    each = max(more - few, 0) // (MORE - FEW)
    return Memory(_state(model), max(few - FEW * each, 0), each)


def check_memory(
    algorithm: str,
    config: TrainingConfig,
    *,
    shape: Shape,
    conditions: Conditions,
    device: str,
) -> None:
    """Refuse a training that cannot fit.

    Where it cannot be told, nothing is refused: the training itself says what is wrong.

    Raises:
        TooLittleMemory: if it needs more than is free.
    """
    try:
        room = free_bytes(device)
        if room is None:
            return
        needed = estimate(algorithm, config, shape=shape, conditions=conditions)
    except Exception as error:  # noqa: BLE001  # an algorithm may be another package's
        logger.warning("memory is not checked: %s: %s", type(error).__name__, error)
        return
    _check_room(room, needed, config)


def _check_room(room: int, needed: Memory, config: TrainingConfig) -> None:
    part = -(-config.batch_size // Team.current().size)  # of a batch, for each process
    images = min(config.microbatch or part, part)
    if needed.total(images) <= room:
        return
    left = room - needed.state - needed.activations_fixed
    fitting = int(0.7 * left) // max(needed.activations_per_image, 1)
    advice = f"microbatch={fitting} may fit" if fitting > 0 else "a smaller model may fit"
    raise TooLittleMemory(
        f"expected about {_gigabytes(needed.total(images))} of free memory, "
        f"{_gigabytes(needed.state)} of it for weights and {_gigabytes(needed.activations_per_image)} "
        f"for each of {images} images, there are {_gigabytes(room)}; {advice}"
    )


def free_bytes(device: str) -> int | None:
    """Return how much memory is free on a device, None where nobody knows."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    rooms = [_available(), *(container_room(*container) for container in CONTAINERS)]
    return min((room for room in rooms if room is not None), default=None)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def container_room(folder: Path, limit: str, used: str) -> int | None:
    """Return how much memory a container has left, None where it has no limit of its own."""
    try:
        room = int((folder / limit).read_text("ascii")) - int((folder / used).read_text("ascii"))
        lines = (folder / "memory.stat").read_text("ascii").splitlines()
        return room + sum(int(line.split()[1]) for line in lines if line.split()[0] in CACHED)
    except (OSError, ValueError):  # there is no such file, or it says "max"
        return None


def _state(model: Algorithm) -> int:
    weights = sum(_size(model, name) for name in model.networks)
    averaged = sum(_size(model, n) for n in (*model.sampling_networks, *model.other_networks))
    moved = {name for phase in model.phases() for name in phase.networks}
    return weights + averaged + 3 * sum(_size(model, name) for name in moved)


def _size(model: Algorithm, name: str) -> int:
    return sum(t.nbytes for t in model.networks[name].state_dict().values())


def _kept(model: Algorithm, phase: Phase, images: int) -> int:
    """Return the bytes that a forward pass of so many images keeps for the backward pass."""
    weights = (p for network in model.networks.values() for p in network.parameters())
    known = {p.untyped_storage().data_ptr() for p in weights}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    told = torch.zeros(images, len(model.conditions.none), dtype=torch.int64)
    x = torch.rand(images, *model.shape) * 2 - 1
    batch = Batch(x, told if model.conditions.given else None)
    generator = torch.Generator().manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss, _ = model.loss(phase.name, batch, Context(generator))
    assert loss.requires_grad, "there is something to go backward through"
    return sum(kept.values())


def _gigabytes(size: int) -> str:
    return f"{size / GIGABYTE:.3g} GB"
