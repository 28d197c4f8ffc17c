"""A tiny CLIP with random weights, as `save_pretrained` of transformers writes one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.generators.pipelines.tiny import clip_tokenizer


def make_clip(folder: Path, *, seed: int = 3) -> Path:
    """Return the folder with a CLIP of 16 features that reads 24 tokens and images of 16x16."""
    hf: Any = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    text = {
        "vocab_size": 514,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    hf.CLIPModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    hf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=size).save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)
    return folder
