"""The vision transformer of DINOv2, for square images of one size.

Dosovitskiy et al., 2021, "An image is worth 16x16 words"; Oquab et al., 2024, "DINOv2: learning robust
visual features without supervision". Layers and their names are those of the published files, from
whose shapes depth and widths are read: small, base, large and giant, without registers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 224
HEAD = 64  # width of one attention head, in every size of the model
EPSILON = 1e-6  # of the layer norms


class Attention(nn.Module):
    """Self-attention of all tokens, in heads of 64."""

    def __init__(self, width: int) -> None:
        """Build both projections."""
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``, (N, T, D)."""
        N, T, D = x.shape
        qkv = self.qkv(x).view(N, T, 3, D // HEAD, HEAD)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, T, 64)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.proj(mixed.transpose(1, 2).reshape(N, T, D))
        return y


class Perceptron(nn.Module):
    """Two layers with GELU between them: small, base and large."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build both layers."""
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class GatedPerceptron(nn.Module):
    """Two layers, the first gated by SiLU: giant."""

    def __init__(self, width: int, hidden: int) -> None:
        """Build both layers; ``w12`` holds gate and value."""
        super().__init__()
        self.w12 = nn.Linear(width, 2 * hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``."""
        gate, value = self.w12(x).chunk(2, dim=-1)
        y: Tensor = self.w3(functional.silu(gate) * value)
        return y


class Scale(nn.Module):
    """One factor for each channel."""

    def __init__(self, width: int) -> None:
        """Make room for the factors."""
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled tokens."""
        return x * self.gamma


class Block(nn.Module):
    """Attention and perceptron, each after a norm, scaled and added to what came in."""

    def __init__(self, width: int, perceptron: nn.Module) -> None:
        """Build both halves."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.attn = Attention(width)
        self.ls1 = Scale(width)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp = perceptron
        self.ls2 = Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens of the shape of ``x``, (N, T, D)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class PatchEmbedding(nn.Module):
    """One token for each patch."""

    def __init__(self, width: int, patch: int) -> None:
        """Build the projection of a patch."""
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (N, T, D) of images (N, 3, H, W), row by row."""
        y: Tensor = self.proj(x)
        return y.flatten(2).transpose(1, 2)


class DinoNetwork(nn.Module):
    """The class token after the last norm, (N, D)."""

    pos_embed: nn.Parameter

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        """Build the network from the tensors of a weights file in the published layout.

        Raises:
            KeyError: if a tensor is missing that the architecture is read from.
            RuntimeError: if tensors are missing, of another shape, or too many.
        """
        super().__init__()
        self.width, _, self.patch, _ = state["patch_embed.proj.weight"].shape
        self.depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        with torch.device("meta"):  # no memory and no random numbers for values never used
            self._build(state)
        self.load_state_dict(dict(state), assign=True)
        self.float()
        self.pos_embed = nn.Parameter(_positions(self.pos_embed, SIDE // self.patch))
        self.eval().requires_grad_(False)

    def _build(self, state: Mapping[str, Tensor]) -> None:
        width = self.width
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.mask_token = nn.Parameter(torch.empty(1, width))  # of the training alone
        self.pos_embed = nn.Parameter(torch.empty(state["pos_embed"].shape))
        self.patch_embed = PatchEmbedding(width, self.patch)
        self.blocks = nn.ModuleList(
            Block(width, _perceptron(width, state)) for _ in range(self.depth)
        )
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, D) of normalised images (N, 3, 224, 224)."""
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), self.patch_embed(x)], 1)
        x = x + self.pos_embed  # (N, 1 + patches, D)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x[:, 0])
        return y


def _perceptron(width: int, state: Mapping[str, Tensor]) -> nn.Module:
    if "blocks.0.mlp.w12.weight" in state:
        return GatedPerceptron(width, state["blocks.0.mlp.w12.weight"].shape[0] // 2)
    return Perceptron(width, state["blocks.0.mlp.fc1.weight"].shape[0])


def _positions(trained: Tensor, grid: int) -> Tensor:
    """Return the embeddings (1, 1 + grid², D) of positions, interpolated from the trained grid.

    Bicubic without antialiasing, by the factor (grid + 0.1) / trained grid as the original computes
    it: the 0.1, once there against rounding, is part of what the published features are.
    """
    token, patches = trained[:, :1], trained[:, 1:]
    side = int(patches.shape[1] ** 0.5)
    if side == grid:
        return trained
    scale = (grid + 0.1) / side
    patches = functional.interpolate(
        patches.view(1, side, side, -1).permute(0, 3, 1, 2),
        scale_factor=(scale, scale),
        mode="bicubic",
    )
    return torch.cat([token, patches.flatten(2).transpose(1, 2)], 1)
