"""What each process of `test_parallel` does; it writes what it found as JSON.

Usage: python -m tests.generators.parallel_run FOLDER, with torchrun's variables set.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from evaluation.imagesets.atomic import sha256_of
from generators.training import loop as training, saving
from generators.training.checkpoints import WEIGHTS
from generators.training.loop import TrainingResult
from generators.training.parallel import Team, joined
from generators.training.steps import Training
from tests.generators.conftest import TINY, Data, make_data, train_tiny

ALGORITHMS = ("gan.sngan", "vae.conv", "diffusion.ddpm", "latent.flow")
WORDS = "diffusion.flow of words"  # whose places attend to them
TRAININGS = (*ALGORITHMS, WORDS)
IMAGES = 56  # 3.5 batches


class Recorded(Training):
    """A training that the test can look into."""

    newest: "Recorded"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        Recorded.newest = self

    def digest(self) -> str:
        """Return the sha256 of every tensor of this process's training."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            found.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return found.hexdigest()


def train_named(name: str, directory: Path, **options: Any) -> TrainingResult:
    """Train an algorithm on classes, or the one of words on a caption for each class."""
    if name != WORDS:
        return train_tiny(name, directory, images=IMAGES, **options)
    data, config = make_data(), replace(TINY["diffusion.flow"], cross_attention=True)  # type: ignore[call-arg]  # flow has it
    captions = [("bright above", "bright below", "dark")[label] for label in data.labels]
    unlabelled = Data(data.images, None, 0)  # type: ignore[arg-type]  # captions in their place
    told: dict[str, Any] = {"data": unlabelled, "captions": captions, "config": config}
    return train_tiny("diffusion.flow", directory, images=IMAGES, **told, **options)


def trained(name: str, directory: Path, rank: int) -> dict[str, Any]:
    """Train without an interruption, and with one that only the last process is asked for."""
    whole = train_named(name, directory / "whole", checkpoint_every_images=32)
    found: dict[str, Any] = {"whole": Recorded.newest.digest()}
    polls = iter(range(100))
    stop: Callable[[], bool] = lambda: rank == 1 and next(polls) >= 2  # noqa: E731  # one line
    stopped = train_named(name, directory / "parts", should_stop=stop)
    resumed = train_named(name, directory / "parts")
    return found | {
        "parts": Recorded.newest.digest(),
        "saved": sha256_of(whole.checkpoint.path / WEIGHTS),
        "resumed": sha256_of(resumed.checkpoint.path / WEIGHTS),
        "stopped": [stopped.stopped, stopped.images_seen],
        "resume": resumed.resume,
        "checkpoints": sorted(path.name for path in (directory / "whole").iterdir()),
    }


def shared(team: Team) -> dict[str, Any]:
    """Share gradients, buffers and votes."""
    network = nn.BatchNorm1d(2)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, float(team.rank))
    network.running_mean = torch.full((2,), 5.0 + team.rank)
    team.average_gradients(network.parameters())
    team.share_buffers([network])
    cpu = torch.device("cpu")
    return {
        "gradients": [p.grad.tolist() for p in network.parameters() if p.grad is not None],
        "buffer": network.running_mean.tolist(),
        "votes": [team.any(team.rank == 1, cpu), team.any(False, cpu)],
        "share": team.share(10, 6),
    }


def timed(directory: Path) -> list[str]:
    """Train with a checkpoint after every so many seconds, and return the checkpoints."""
    train_tiny("vae.conv", directory, images=64, checkpoint_every_seconds=1e-6)
    return sorted(path.name for path in directory.iterdir())


def main(folder: Path) -> None:
    """Run everything, and write `rank-<rank>.json`."""
    torch.set_num_threads(1)
    saving.TEAM_STEPS = 1
    training.Training = Recorded  # type: ignore[attr-defined]  # to look into it
    with joined():
        team = Team.current()
        found = {
            "size": team.size,
            "shared": shared(team),
            "timed": timed(folder / "timed"),
            **{name: trained(name, folder / name, team.rank) for name in TRAININGS},
        }
    assert set(ALGORITHMS) <= set(TINY), "the conformance suite's configurations are used"
    (folder / f"rank-{team.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
