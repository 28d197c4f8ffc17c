"""Diffusion models: their presets and samplers (torch-free rim)."""

from generators.specs.algorithms import AlgorithmSpec, Preset, samplers_by_name
from generators.specs.diffusion_configs import DDPMConfig, ECTConfig, EDMConfig, FlowConfig
from generators.specs.diffusion_samplers import (
    ConsistencySampler,
    DDIMSampler,
    DDPMSampler,
    DPMSolverSampler,
    EDMEulerSampler,
    EDMHeunSampler,
    EDMSolverSampler,
    EulerSampler,
    HeunSampler,
)
from generators.specs.options import Value

# places of 2 x 2 pixels: a quarter of the cost, and the middle attends among 7 x 7 of MNIST's
DDPM_TINY: dict[str, Value] = {
    "batch_size": 32,
    "base_channels": 32,
    "channel_multipliers": "1,2",
    "patch": 2,
}
DDPM_SMALL: dict[str, Value] = {
    "batch_size": 256,
    "learning_rate": 1e-3,
    "attention_side": 16,
    "dropout": 0.1,
}
CIFAR_UNET: dict[str, Value] = {
    "batch_size": 128,
    "learning_rate": 2e-4,
    "decay": "constant",
    "ema_halflife": 1,
    "ema_halflife_kimg": 887,  # 0.9999 in each step
    "clip_norm": 1,
    "horizontal_flip": True,
    "base_channels": 128,
    "channel_multipliers": "1,2,2,2",
    "residual_blocks": 2,
    "attention_side": 16,
    "dropout": 0.1,
    "label_dropout": 0,
}
DDPM_PAPER: dict[str, Value] = {
    **CIFAR_UNET,
    "warmup": 0.00625,  # 5,000 of 800,000 steps
    "schedule": "linear",
    "prediction": "epsilon",
}
# on MNIST: the root mean square of its pixel values is about 1, and shapes are told at high noise
EDM_TINY: dict[str, Value] = {**DDPM_TINY, "sigma_data": 1.0, "p_mean": 0.0, "p_std": 1.6}
ECT_TINY: dict[str, Value] = {**EDM_TINY, "tuning_learning_rate": 1e-3, "stages": 4, "q": 4.0}
EDM_PAPER: dict[str, Value] = {
    "batch_size": 512,
    "learning_rate": 1e-3,
    "warmup": 0.05,  # 10 million images
    "decay": "constant",
    "ema_halflife": 0.05,
    "ema_halflife_kimg": 500,
    "clip_norm": 0,
    "precision": "float32",
    "horizontal_flip": True,
    "base_channels": 128,
    "channel_multipliers": "2,2,2",
    "residual_blocks": 4,
    "attention_side": 16,
    "dropout": 0.13,
    "label_dropout": 0,
}
# the network is Tong et al.'s, 2024, "Improving and generalizing flow-based generative models with
# minibatch optimal transport", whose setting of flow matching is the one that is reproduced
FLOW_PAPER: dict[str, Value] = {**CIFAR_UNET, "warmup": 0.0125}  # 5,000 of 400,000 steps
ECT_PAPER: dict[str, Value] = {
    **EDM_PAPER,
    "tuning_share": 0.2038,  # 400,000 steps of 128 images after EDM's 200 million
    "dropout": 0.2,
}

SPECS = (
    AlgorithmSpec(
        name="diffusion.ddpm",
        family="diffusion",
        label="DDPM",
        config=DDPMConfig,
        samplers=samplers_by_name(DDPMSampler, DDIMSampler, DPMSolverSampler),
        default_sampler="ddim",
        implementation="generators.diffusion.ddpm:DDPM",
        source="Ho et al., 2020, Denoising diffusion probabilistic models; "
        "Nichol and Dhariwal, 2021, Improved denoising diffusion probabilistic models",
        presets={
            "tiny": Preset(images=100_000, config=DDPM_TINY),
            "small": Preset(images=5_000_000, config=DDPM_SMALL),
            "paper": Preset(images=102_400_000, config=DDPM_PAPER),
        },
        preview={"name": "dpmsolver++", "steps": 15},
    ),
    AlgorithmSpec(
        name="diffusion.edm",
        family="diffusion",
        label="EDM",
        config=EDMConfig,
        samplers=samplers_by_name(EDMHeunSampler, EDMEulerSampler, EDMSolverSampler),
        default_sampler="heun",
        implementation="generators.diffusion.edm:EDM",
        source="Karras et al., 2022, Elucidating the design space of diffusion-based generative "
        "models",
        presets={
            "tiny": Preset(images=100_000, config=EDM_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=200_000_000, config=EDM_PAPER),
        },
        preview={"name": "dpmsolver++", "steps": 12},
    ),
    AlgorithmSpec(
        name="diffusion.flow",
        family="diffusion",
        label="Flow matching",
        config=FlowConfig,
        samplers=samplers_by_name(HeunSampler, EulerSampler),
        default_sampler="euler",
        implementation="generators.diffusion.flow:Flow",
        source="Lipman et al., 2023, Flow matching for generative modeling; "
        "Liu et al., 2023, Flow straight and fast",
        presets={
            "tiny": Preset(images=100_000, config=DDPM_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=51_200_000, config=FLOW_PAPER),
        },
        preview={"name": "euler", "steps": 15},
    ),
    AlgorithmSpec(
        name="diffusion.ect",
        family="diffusion",
        label="ECT",
        config=ECTConfig,
        samplers=samplers_by_name(ConsistencySampler),
        default_sampler="consistency",
        implementation="generators.diffusion.ect:ECT",
        source="Geng et al., 2024, Consistency models made easy",
        presets={
            "tiny": Preset(images=100_000, config=ECT_TINY),
            "small": Preset(images=5_000_000),
            "paper": Preset(images=251_200_000, config=ECT_PAPER),
        },
    ),
)
