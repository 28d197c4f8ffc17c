"""Tiny random pipelines of diffusers, written as folders; tokenizers know bytes alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers as typed_diffusers
import torch

diffusers: Any = typed_diffusers  # what it builds has no types
SIDE = 16  # of latents in text pipelines and DiT: images of 32


def seeded(seed: int = 0) -> None:
    torch.manual_seed(seed)


def autoencoder(**changes: Any) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        **changes,
    )


def unet2d(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 1,
        "block_out_channels": (8, 8),
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    return diffusers.UNet2DModel(**{**options, **changes})


def conditional_unet(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "sample_size": SIDE,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    }
    return diffusers.UNet2DConditionModel(**{**options, **changes})


def betas(kind: Any = diffusers.DDIMScheduler, **options: Any) -> Any:
    return kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **options)


def save(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


# --- without words ------------------------------------------------------------------------------


def ddpm(folder: Path) -> Path:
    seeded()
    return save(diffusers.DDPMPipeline(unet2d(), diffusers.DDPMScheduler(100)), folder)


def dit(folder: Path) -> Path:
    seeded()
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=SIDE,
        patch_size=4,
    )
    for parameter in transformer.parameters():  # adaLN-zero begins as no transformer at all
        torch.nn.init.normal_(parameter, std=0.1)
    names = {0: "tench, Tinca tinca", 1: "goldfish"}
    return save(diffusers.DiTPipeline(transformer, autoencoder(), betas(), names), folder)


def consistency(folder: Path, classes: int | None = None) -> Path:
    seeded()
    scheduler: Any = diffusers.CMStochasticIterativeScheduler
    unet = unet2d(num_class_embeds=classes)
    return save(diffusers.ConsistencyModelPipeline(unet, scheduler()), folder)


def classed_consistency(folder: Path) -> Path:
    return consistency(folder, 5)


# --- with words, for which transformers has to be installed -------------------------------------


def clip_tokenizer() -> Any:
    """Return CLIP's tokenizer without merges: 256 bytes, 256 that end a word, start and end."""
    from transformers import CLIPTokenizer  # noqa: PLC0415  # of an extra
    from transformers.convert_slow_tokenizer import bytes_to_unicode  # noqa: PLC0415

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {
        word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])
    }
    return CLIPTokenizer(vocabulary, [], model_max_length=77)


def clip_encoder(projected: bool = False) -> Any:
    from transformers import (  # noqa: PLC0415  # of an extra
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(width: int = 16) -> tuple[Any, Any]:
    """Return T5's tokenizer of letters, and its encoder."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast  # noqa: PLC0415

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,-"]
    tokenizer = T5TokenizerFast(vocab=[*pieces, *letters], extra_ids=0)
    config = T5Config(vocab_size=64, d_model=width, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    return tokenizer, T5EncoderModel(config)


def safety_checker(most: float) -> tuple[Any, Any]:
    """Return a checker that blackens every image (most -1) or none (most 1), and what it reads with."""
    from diffusers.pipelines.stable_diffusion.safety_checker import (  # noqa: PLC0415  # needs transformers
        StableDiffusionSafetyChecker,
    )
    from transformers import CLIPConfig, CLIPImageProcessor  # noqa: PLC0415

    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=16))
    checker.concept_embeds_weights.data.fill_(most)
    checker.special_care_embeds_weights.data.fill_(1.0)
    size = {"height": 32, "width": 32}
    return checker, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)


def preconditioned(folder: Path) -> Path:
    """Write one whose network is preconditioned as EDM's is, as Playground v2.5 is."""
    return stable_diffusion(folder, scheduler=diffusers.EDMEulerScheduler())


def stable_diffusion(folder: Path, most: float | None = None, scheduler: Any = None) -> Path:
    seeded()
    checker, reader = (None, None) if most is None else safety_checker(most)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(),
        unet=conditional_unet(),
        scheduler=scheduler or betas(diffusers.PNDMScheduler, skip_prk_steps=True, steps_offset=1),
        safety_checker=checker,
        feature_extractor=reader,
        requires_safety_checker=checker is not None,
    )
    return save(pipeline, folder)


def stable_diffusion_xl(folder: Path) -> Path:
    seeded()
    unet = conditional_unet(
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=clip_encoder(),
        text_encoder_2=clip_encoder(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=betas(diffusers.EulerDiscreteScheduler),
        add_watermarker=False,
    )
    return save(pipeline, folder)


def stable_diffusion_3(folder: Path) -> Path:
    seeded()
    tokenizer, encoder = t5(32)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=SIDE,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
    )
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(shift_factor=0.1),
        text_encoder=clip_encoder(projected=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_encoder(projected=True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=encoder,
        tokenizer_3=tokenizer,
    )
    return save(pipeline, folder)


def pixart(folder: Path) -> Path:
    seeded()
    tokenizer, encoder = t5()
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=16,
        sample_size=SIDE,
        patch_size=2,
        caption_channels=16,
        use_additional_conditions=False,
    )
    pipeline = diffusers.PixArtAlphaPipeline(
        tokenizer, encoder, autoencoder(), transformer, betas(diffusers.DPMSolverMultistepScheduler)
    )
    return save(pipeline, folder)


def flux(folder: Path) -> Path:
    seeded()
    tokenizer, encoder = t5()
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    pipeline = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(shift_factor=0.1),
        text_encoder=clip_encoder(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=encoder,
        tokenizer_2=tokenizer,
        transformer=transformer,
    )
    return save(pipeline, folder)


WITHOUT_WORDS: dict[str, Callable[[Path], Path]] = {
    "ddpm": ddpm,
    "dit": dit,
    "consistency": consistency,
    "classed_consistency": classed_consistency,
}
WITH_WORDS: dict[str, Callable[[Path], Path]] = {
    "stable_diffusion": stable_diffusion,
    "stable_diffusion_xl": stable_diffusion_xl,
    "stable_diffusion_3": stable_diffusion_3,
    "pixart": pixart,
    "flux": flux,
}
