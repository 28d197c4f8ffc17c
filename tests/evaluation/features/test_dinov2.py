"""DINOv2: small random networks in the published layout, against the formulas written out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

from evaluation.features.base import ExtractorError, extract
from evaluation.features.dinov2 import PUBLISHED, Architecture, DinoExtractor
from evaluation.features.dinov2_network import DinoNetwork
from evaluation.features.registry import build_extractor
from evaluation.imagesets.atomic import sha256_of
from tests.inception import make_textures

WIDTH, DEPTH, TRAINED_GRID = 128, 3, 37


class SmallDino(DinoExtractor):
    """The same extractor for a network that fits into a test."""

    architecture = Architecture(patch=14, width=WIDTH, depth=DEPTH)


def make_state(*, gated: bool = False, grid: int = TRAINED_GRID) -> dict[str, Tensor]:
    """Return random weights in the layout of dinov2_vitl14_pretrain.pth."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + grid**2, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    first, second = ("w12", "w3") if gated else ("fc1", "fc2")
    block = {
        "norm1": (WIDTH,),
        "attn.qkv": (3 * WIDTH, WIDTH),
        "attn.proj": (WIDTH, WIDTH),
        "norm2": (WIDTH,),
        f"mlp.{first}": (4 * WIDTH, WIDTH),
        f"mlp.{second}": (WIDTH, 2 * WIDTH if gated else 4 * WIDTH),
    }
    for i in range(DEPTH):
        for name, shape in block.items():
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
        shapes[f"blocks.{i}.ls1.gamma"] = shapes[f"blocks.{i}.ls2.gamma"] = (WIDTH,)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.1 * torch.randn(s, generator=generator) for name, s in shapes.items()}


def make_input(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def written_out(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the class token by the formulas of the transformer, in float64 and without layers."""
    p = {name: value.double() for name, value in state.items()}

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return centred / scale * p[f"{name}.weight"] + p[f"{name}.bias"]

    def attention(name: str, x: Tensor) -> Tensor:
        qkv = linear(f"{name}.qkv", x)
        heads = []
        for start in range(0, WIDTH, 64):
            q, k, v = (qkv[..., i * WIDTH + start : i * WIDTH + start + 64] for i in range(3))
            heads.append((q @ k.transpose(1, 2) / 8).softmax(-1) @ v)
        return linear(f"{name}.proj", torch.cat(heads, -1))

    def perceptron(name: str, x: Tensor) -> Tensor:
        if f"{name}.w12.weight" in p:
            gate, value = linear(f"{name}.w12", x).chunk(2, -1)
            return linear(f"{name}.w3", gate / (1 + (-gate).exp()) * value)
        h = linear(f"{name}.fc1", x)
        return linear(f"{name}.fc2", h * 0.5 * (1 + torch.erf(h / 2**0.5)))

    patches = images.double().unfold(2, 14, 14).unfold(3, 14, 14)  # (N, 3, 16, 16, 14, 14)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(len(images), 256, -1)
    x = patches @ p["patch_embed.proj.weight"].flatten(1).T + p["patch_embed.proj.bias"]
    x = torch.cat([p["cls_token"].expand(len(x), 1, WIDTH), x], 1) + positions(p["pos_embed"])
    for i in range(DEPTH):
        block = f"blocks.{i}"
        x = x + p[f"{block}.ls1.gamma"] * attention(f"{block}.attn", norm(f"{block}.norm1", x))
        x = x + p[f"{block}.ls2.gamma"] * perceptron(f"{block}.mlp", norm(f"{block}.norm2", x))
    return norm("norm", x)[:, 0]


def positions(trained: Tensor) -> Tensor:
    """Return cubic convolution (a = -0.75) to 16x16 at the scale 16.1 / 37."""
    grid = round((trained.shape[1] - 1) ** 0.5)
    if grid == 16:
        return trained
    matrix = torch.zeros(16, grid, dtype=torch.float64)
    for i in range(16):
        centre = (i + 0.5) * grid / 16.1 - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            d = abs(centre - j)
            near = (1.25 * d - 2.25) * d * d + 1
            far = ((-0.75 * d + 3.75) * d - 6) * d + 3
            matrix[i, min(max(j, 0), grid - 1)] += near if d <= 1 else far
    patches = trained[0, 1:].view(grid, grid, WIDTH)
    small = torch.einsum("ia,jb,abc->ijc", matrix, matrix, patches)
    return torch.cat([trained[:, :1], small.reshape(1, 256, WIDTH)], 1)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("grid", [16, TRAINED_GRID])
def test_the_network_is_the_transformer_written_out(gated: bool, grid: int) -> None:
    state, images = make_state(gated=gated, grid=grid), make_input()

    found = DinoNetwork(state)(images)

    expected = written_out(state, images).float()
    assert found.shape == (2, WIDTH)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_images_are_prepared_as_torch_fidelity_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its extractor, with our network where it would download one."""
    state, images = make_state(), make_textures(3)
    torch.save(state, tmp_path / "small.pth")
    network = DinoNetwork(state)
    monkeypatch.setattr(torch.hub, "load", lambda *_args: network)
    monkeypatch.setenv("XFORMERS_DISABLED", "1")
    theirs = FeatureExtractorDinoV2("dinov2-vit-l-14", ["dinov2"])
    extractor = SmallDino(tmp_path / "small.pth")

    found = extract(extractor, images)

    (expected,) = theirs(torch.from_numpy(images))
    assert float((found.features - expected).abs().max() / expected.abs().max()) < 1e-5
    assert found.logits is None and not extractor.has_logits
    assert extractor.dim == WIDTH
    assert extractor.weights_sha256 == sha256_of(tmp_path / "small.pth")


def test_grey_images_are_replicated_and_batches_do_not_matter(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "small.pth")
    extractor, grey = SmallDino(tmp_path / "small.pth"), make_textures(5)[:, :1]

    whole = extract(extractor, grey).features
    pieces = extract(extractor, np.repeat(grey, 3, axis=1), batch_size=2).features

    assert float((whole - pieces).abs().max() / whole.abs().max()) < 1e-5


def test_lower_precision_set_elsewhere_changes_nothing(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "small.pth")
    extractor, images = SmallDino(tmp_path / "small.pth"), make_textures(2)
    expected = extract(extractor, images).features

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        found = extract(extractor, images).features
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)

    assert torch.equal(found, expected)


def test_a_network_of_another_size_is_not_called_large(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "small.pth")

    with pytest.raises(ExtractorError) as caught:
        DinoExtractor(tmp_path / "small.pth")

    assert str(caught.value) == (
        f"{tmp_path / 'small.pth'} holds no weights of dinov2-vit-l-14: "
        "expected Architecture(patch=14, width=1024, depth=24), "
        "got Architecture(patch=14, width=128, depth=3)"
    )


@pytest.mark.parametrize("kind", ["registers", "missing", "other network"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    state = make_state()
    if kind == "registers":
        state["register_tokens"] = torch.zeros(1, 4, WIDTH)
    elif kind == "missing":
        del state["blocks.1.norm2.bias"]
    else:
        state = nn.Linear(2, 2).state_dict()
    torch.save(state, tmp_path / "other.pth")

    with pytest.raises(ExtractorError, match=r"other\.pth holds no weights of dinov2-vit-l-14: "):
        SmallDino(tmp_path / "other.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError) as caught:
        build_extractor("dinov2-vit-l-14", weights=tmp_path / "none.pth", cache=tmp_path)

    assert str(caught.value) == f"DINOv2 weights not found: {tmp_path / 'none.pth'}"


def test_a_damaged_file_in_the_cache_is_never_used(tmp_path: Path) -> None:
    (tmp_path / "dinov2_vitl14_pretrain.pth").write_bytes(b"half of it")

    with pytest.raises(ExtractorError, match=f"is damaged: expected sha256 {PUBLISHED.sha256}, "):
        build_extractor("dinov2-vit-l-14", cache=tmp_path)


def test_the_address_ends_with_the_name_of_the_file() -> None:
    assert PUBLISHED.url.endswith(f"/{PUBLISHED.name}")
