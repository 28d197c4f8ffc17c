"""Trainings of every algorithm that an earlier Trilemma left unfinished, as small as they can be.

`frozen/trainings.tar.xz` holds a folder of each, `frozen/trainings.json` how these and the same from
their beginning ended, with the versions and the kind of processor that these bits are of.
"""

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from generators.__main__ import main
from tests.legacy.facts import FROZEN, run

ARCHIVE = FROZEN / "trainings.tar.xz"
ENDINGS = FROZEN / "trainings.json"

PART, WHOLE = 40, 64  # images seen, of the fixture and of the budget
OPTIONS = {
    "gan.dcgan": "latent_dim=2 generator_channels=1 discriminator_channels=1",
    "gan.sngan": "latent_dim=2 generator_channels=1 discriminator_channels=1",
    "gan.wgan_gp": "latent_dim=2 generator_channels=1 discriminator_channels=1 "
    "discriminator_steps=2",
    "gan.r3gan": "latent_dim=2 generator_channels=2 discriminator_channels=2 most_channels=4 "
    "group_channels=1 diff_augment=color",
    "vae.conv": "latent_dim=2 base_channels=1 mixture_components=1",
    "vae.vq": "codebook_size=4 code_dim=2 base_channels=2 residual_blocks=1 prior_share=0.5 "
    "prior_width=4 prior_depth=1 prior_heads=1",
    "vae.hierarchical": "width=1 latent_channels=1 stochastic_layers=1,1 mixtures=1",
    "diffusion.ddpm": "base_channels=4 timesteps=10 channel_multipliers=1 residual_blocks=1 "
    "dropout=0.1",
    "diffusion.edm": "base_channels=4 channel_multipliers=1 residual_blocks=1",
    "diffusion.flow": "backbone=dit base_channels=4 residual_blocks=1 patch=4",
    "diffusion.ect": "base_channels=4 stages=2 channel_multipliers=1 residual_blocks=1",
}
IN_STEPS = ("diffusion.ddpm", "diffusion.edm", "diffusion.flow")


def train(algorithm: str, out: Path, *more: str) -> dict[str, Any]:
    """Train the algorithm for the whole budget, or go on; return what the command reports."""
    settings = ["batch_size=8", *OPTIONS[algorithm].split()]
    arguments = ["train", algorithm, "--data", "digits", "--out", str(out), "--images", str(WHOLE)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    return _ask([*arguments, "--device", "cpu", "--threads", "1", *more])


def sample(checkpoint: Path, folder: Path) -> str:
    """Return the sha256 of the pixels and labels of four images."""
    file = folder / "samples.npz"
    arguments = ["sample", str(checkpoint), "--out", str(file), "--num", "4"]
    if checkpoint.parent.name in IN_STEPS:
        arguments += ["--set", "steps=4"]
    _ask([*arguments, "--device", "cpu", "--threads", "1"])
    with np.load(file) as found:
        assert found["arr_0"].shape == (4, 8, 8, 1)
        return hashlib.sha256(found["arr_0"].tobytes() + found["labels"].tobytes()).hexdigest()


def _ask(arguments: Sequence[str]) -> dict[str, Any]:
    status, out = run(main, [*arguments, "--json"])
    assert status == 0, arguments
    answer: dict[str, Any] = json.loads(out)
    return answer


def manifest(checkpoint: Path) -> str:
    """Return a checkpoint's manifest as it is written, but for the time that it took."""
    text = (checkpoint / "manifest.json").read_text("utf-8")
    return re.sub(r'"device_seconds": [\d.e-]+', '"device_seconds": 0', text)


def shapes(checkpoint: Path) -> dict[str, tuple[str, list[int]]]:
    """Return the kind and the shape of each of a checkpoint's tensors."""
    tensors = load_file(checkpoint / "weights.safetensors")
    return {name: (str(tensor.dtype), list(tensor.shape)) for name, tensor in tensors.items()}


def weights(checkpoint: Path) -> str:
    """Return the sha256 of a checkpoint's tensors."""
    return hashlib.sha256((checkpoint / "weights.safetensors").read_bytes()).hexdigest()


def processor() -> str:
    """Return a digest of what this processor and these libraries make of a little arithmetic.

    Bits of trainings can be expected to be the same only where it is, and where the processor is of
    the same model: libraries choose by its caches, too, in which order they add.
    """
    x = torch.linspace(-2, 2, 2 * 4 * 8 * 8).sin().view(2, 4, 8, 8).requires_grad_()
    kernel = torch.linspace(-1, 1, 4 * 4 * 9).cos().view(4, 4, 3, 3)
    y = torch.nn.functional.conv2d(x, kernel, padding=1)
    y = torch.nn.functional.silu(torch.nn.functional.group_norm(y, 2))
    rows = y.flatten(2)  # (batch, channels, places)
    y = (rows @ rows.transpose(1, 2)).softmax(-1) @ rows
    loss = y.exp().log1p().tanh().mean() + y.std()
    (gradient,) = torch.autograd.grad(loss, x)
    made = y.detach().numpy().tobytes() + gradient.numpy().tobytes()
    return hashlib.sha256(made + "\n".join(_model()).encode()).hexdigest()


def _model() -> list[str]:
    """Return what the system says of its processor's model; nothing where it does not say."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    names = ("vendor_id", "cpu family", "model", "model name", "stepping", "cache size")
    return sorted({line for line in lines if line.split("\t")[0] in names})


def unpack(folder: Path) -> None:
    """Put the folders of all trainings into this one."""
    with tarfile.open(ARCHIVE) as archive:
        for member in filter(tarfile.TarInfo.isfile, archive):
            file = archive.extractfile(member)
            assert file is not None, "it is a plain file"
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read())


def write() -> None:
    """Make both files anew: from then on they are what this Trilemma left."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as temporary:
        for algorithm in OPTIONS:
            out = Path(temporary) / algorithm
            train(algorithm, out, "--checkpoint-at", str(PART))
            shutil.rmtree(out / f"ckpt-{WHOLE}")
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for algorithm in OPTIONS:
                archive.add(Path(temporary) / algorithm, algorithm)
    write_endings()


def write_endings() -> None:
    """Write what comes of the trainings on this processor; the checkpoints may be of another."""
    torch.set_num_threads(1)
    endings: dict[str, Any] = {"processor": processor(), "trainings": {}}
    with TemporaryDirectory() as temporary:
        begun = Path(temporary) / "begun"
        unpack(begun)
        for algorithm in OPTIONS:
            anew, samples = Path(temporary) / "anew" / algorithm, sample_of(begun / algorithm)
            train(algorithm, begun / algorithm, "--resume")
            train(algorithm, anew, "--checkpoint-at", str(PART))
            endings["numerics"] = json.loads(manifest(anew / f"ckpt-{PART}"))["numerics"]
            endings["trainings"][algorithm] = {
                "gone_on": weights(begun / algorithm / f"ckpt-{WHOLE}"),
                "part": weights(anew / f"ckpt-{PART}"),
                "whole": weights(anew / f"ckpt-{WHOLE}"),
                "samples": samples,
            }
    ENDINGS.write_text(json.dumps(endings, indent=1) + "\n", "utf-8")


def sample_of(training: Path) -> str:
    """Return the sha256 of what a training's first checkpoint draws."""
    with TemporaryDirectory() as temporary:
        return sample(training / f"ckpt-{PART}", Path(temporary))
