"""Our training loop against a bare PyTorch loop, diffusers' recipe and pythae's trainer.

Everyone trains the same network on the same images with the same batch size; the value printed is
the mean loss of the last steps, which must be alike. Peers that are not installed are skipped.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.optimization import get_scheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from generators.algorithm.contract import Algorithm, build_algorithm
from generators.algorithm.numerics import flushing_denormals
from generators.specs.conditions import Conditions
from generators.specs.options import TrainingConfig
from generators.specs.registry import get_spec, parse_config
from generators.training.batches import BatchStream
from generators.training.budgets import Budget
from generators.training.steps import Training
from tests.benchmarks.conftest import Race

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH = 64
WARM_UP = 2  # steps before the clock runs, of everyone alike


def pictures(count: int, side: int) -> np.ndarray:
    """Return (N, 1, side, side) uint8 images of blobs."""
    rng = np.random.default_rng(0)
    places = np.linspace(-1, 1, side)
    x, y = rng.uniform(-0.5, 0.5, (2, count, 1, 1))
    distance = (places[None, :, None] - y) ** 2 + (places[None, None, :] - x) ** 2
    images: np.ndarray = (255 * np.exp(-8 * distance)).astype(np.uint8)
    return images[:, None]  # one channel


def model_of(name: str, side: int, config: TrainingConfig) -> Algorithm:
    return build_algorithm(name, config, shape=(1, side, side), conditions=Conditions(), seed=0)


def our_steps(name: str, config: TrainingConfig, images: np.ndarray, steps: int) -> float:
    """Train with everything our loop does, and return the mean loss since the last report."""
    stream = BatchStream(images, None, seed=0, device=DEVICE, horizontal_flip=False)
    training = Training(
        model_of(name, images.shape[-1], config),
        config,
        stream,
        seed=0,
        budget=Budget(images=steps * BATCH),
        device=DEVICE,
    )
    with flushing_denormals(), torch.random.fork_rng():
        for _ in range(steps):
            training.step()
        losses = training.progress().losses
    return next(iter(losses.values()))


def bare_steps(name: str, config: TrainingConfig, images: np.ndarray, steps: int) -> float:
    """Train as one would in a script: shuffle, loss, backward, clip, fused AdamW; no average."""
    from generators.algorithm.contract import Context  # noqa: PLC0415  # one contestant's alone

    model = model_of(name, images.shape[-1], config)
    (phase,) = model.phases()
    networks = [model.networks[network].train().to(DEVICE) for network in phase.networks]
    parameters = [p for network in networks for p in network.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=phase.learning_rate, weight_decay=0, fused=True)
    data = torch.from_numpy(images).to(DEVICE)
    context = Context(torch.Generator(DEVICE).manual_seed(0))
    total = torch.zeros((), device=DEVICE)
    with flushing_denormals():
        for _ in range(steps):
            chosen = torch.randint(len(data), (BATCH,), generator=context.generator, device=DEVICE)
            x = data[chosen].float() / 127.5 - 1
            optimiser.zero_grad(set_to_none=True)
            loss, _values = model.loss(phase.name, SimpleNamespace(images=x, labels=None), context)  # type: ignore[arg-type]  # as much of a batch as a loss looks at
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            if config.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimiser.step()
            total += loss.detach()
    return total.item() / steps


class Files(Dataset[Tensor]):
    """Images as diffusers' recipe has them: Pillow images through torchvision's transforms."""

    def __init__(self, images: np.ndarray) -> None:
        side = images.shape[-1]
        self._images = [Image.fromarray(image[0]) for image in images]
        self._transform = transforms.Compose(
            [
                transforms.Resize(side, interpolation=transforms.InterpolationMode.BILINEAR),
                transforms.CenterCrop(side),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Tensor:
        image: Tensor = self._transform(self._images[index])
        return image


def endless(images: np.ndarray) -> Iterator[Tensor]:
    loader = DataLoader(Files(images), batch_size=BATCH, shuffle=True, num_workers=0)
    while True:
        yield from loader


def diffusers_steps(config: TrainingConfig, images: np.ndarray, steps: int) -> float:
    """Train as diffusers' unconditional example does: its data path, schedule, average, clipping."""
    model: Any = model_of("diffusion.ddpm", images.shape[-1], config)
    unet = model.networks["denoiser"].unet.to(DEVICE)
    scheduler = DDPMScheduler(1000, beta_schedule="linear", prediction_type="epsilon")
    average = EMAModel(
        unet.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
    )
    optimiser = torch.optim.AdamW(unet.parameters(), lr=1e-3, weight_decay=1e-6)
    rates = get_scheduler("cosine", optimiser, num_warmup_steps=5, num_training_steps=steps)
    total, batches = 0.0, endless(images)
    for _ in range(steps):
        clean = next(batches).to(DEVICE)
        noise = torch.randn(clean.shape, device=DEVICE)
        t = torch.randint(0, 1000, (len(clean),), device=DEVICE)
        noisy = scheduler.add_noise(clean, noise, t)
        loss = F.mse_loss(unet(noisy, t).sample, noise)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimiser.step()
        rates.step()
        optimiser.zero_grad()
        average.step(unet.parameters())
        total += loss.detach().item()
    return total / steps


def pythae_epochs(config: TrainingConfig, images: np.ndarray, epochs: int, folder: Path) -> float:
    """Train our networks with pythae's trainer, and return its loss on the last images."""
    from pythae.data.datasets import BaseDataset  # noqa: PLC0415
    from pythae.models import VAE, VAEConfig  # noqa: PLC0415
    from pythae.models.base.base_utils import ModelOutput  # noqa: PLC0415
    from pythae.models.nn import BaseDecoder, BaseEncoder  # noqa: PLC0415
    from pythae.trainers import BaseTrainer, BaseTrainerConfig  # noqa: PLC0415

    model: Any = model_of("vae.conv", images.shape[-1], config)

    class Encoder(BaseEncoder):  # type: ignore[misc]  # pythae has no types
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(model.networks["encoder"])

        def forward(self, x: Tensor) -> Any:
            labels = torch.zeros(len(x), 1, dtype=torch.int64)
            mu, log_variance = self.network(x, labels).chunk(2, dim=1)
            return ModelOutput(embedding=mu, log_covariance=log_variance)

    class Decoder(BaseDecoder):  # type: ignore[misc]  # pythae has no types
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(model.networks["decoder"])

        def forward(self, z: Tensor) -> Any:
            labels = torch.zeros(len(z), 1, dtype=torch.int64)
            return ModelOutput(reconstruction=self.network(z, labels))

    shape = tuple(images.shape[1:])
    vae = VAE(VAEConfig(input_dim=shape, latent_dim=model.latent_dim), Encoder(), Decoder())
    x = torch.from_numpy(images).float() / 127.5 - 1
    trainer = BaseTrainer(
        vae,
        BaseDataset(x, torch.ones(len(x))),
        training_config=BaseTrainerConfig(
            output_dir=str(folder),
            num_epochs=epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=2e-3,
            no_cuda=True,
        ),
    )
    trainer.train()
    return float(vae({"data": x[:BATCH]}).loss) / x[0].numel()


VAE = parse_config("vae.conv", {"batch_size": BATCH, "variant": "beta", "precision": "float32"})
DDPM = parse_config(
    "diffusion.ddpm",
    {
        "batch_size": BATCH,
        "prediction": "epsilon",
        "schedule": "linear",
        "precision": "float32",
    },
)


@pytest.mark.parametrize(
    ("name", "config", "side", "steps"),
    [
        ("vae.conv", VAE, 28, 100),
        ("diffusion.ddpm", DDPM, 8, 60),
        ("diffusion.ddpm", DDPM, 16, 15),
    ],
    ids=["vae-28", "ddpm-8", "ddpm-16"],
)
def test_our_loop_costs_little_above_a_bare_one(
    race: Race, name: str, config: TrainingConfig, side: int, steps: int
) -> None:
    images = pictures(5000, side)

    result = race(
        f"{steps} steps of {get_spec(name).label}, {side}x{side}, batch {BATCH} "
        "(ours: with average, guard and losses)",
        partial(our_steps, name, config, images, steps),
        {"bare PyTorch": partial(bare_steps, name, config, images, steps)},
        rounds=5,
    )

    assert result.ratio("bare PyTorch") >= 0.97


@pytest.mark.parametrize(("side", "steps"), [(8, 60), (28, 6)])
def test_diffusers_recipe_takes_longer(race: Race, side: int, steps: int) -> None:
    images = pictures(5000, side)

    result = race(
        f"{steps} steps of DDPM, {side}x{side}, batch {BATCH}",
        partial(our_steps, "diffusion.ddpm", DDPM, images, steps),
        {"diffusers": partial(diffusers_steps, DDPM, images, steps)},
    )

    assert result.ratio("diffusers") > 1


@pytest.mark.parametrize("side", [8, 28])
def test_pythaes_trainer_takes_longer(race: Race, side: int, tmp_path: Path) -> None:
    pytest.importorskip("pythae")
    images = pictures(6400, side)

    def theirs() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own
            return pythae_epochs(VAE, images, 1, tmp_path / "pythae")

    ours: Callable[[], float] = partial(our_steps, "vae.conv", VAE, images, len(images) // BATCH)
    result = race(f"One epoch of 6,400 images, VAE, {side}x{side}", ours, {"pythae": theirs})

    assert result.ratio("pythae") > 1
