"""DiT: a transformer as the denoiser, conditioned by adaptive layer normalisation.

Peebles and Xie, 2023, "Scalable diffusion models with transformers", section 3.2: patches, fixed
sine and cosine positions, adaLN-Zero blocks. DiT-S is width 384, depth 12, 6 heads.

Deviations: the input are pixels, not a latent; the patches are cut by the caller; grids need not be
square; one prediction and no variance; dropout after the hidden layer of each block's MLP, 0 as the
paper has it unless asked for; heads of 64 channels where 64 divides the width, else of the largest
power of two that does.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import WIDTH, Attention, Encoded, condition_layer
from generators.algorithm.contract import Shape
from generators.specs.conditions import Conditions

FREQUENCIES = 128  # of the time's embedding, each with a sine and a cosine
LONGEST_PERIOD = 10_000.0
HEAD = 64  # channels


class DiT(nn.Module):
    """Tokens of a grid, all attending to all, in blocks that a time and a label modulate."""

    def __init__(
        self,
        shape: Shape,
        *,
        conditions: Conditions,
        width: int,
        depth: int,
        dropout: float = 0.0,
        cross_attention: bool = False,
        inputs: int = 1,
    ) -> None:
        """Build the transformer.

        Args:
            shape: channels of a token as it comes and goes, rows and columns of tokens.
            conditions: what it is told besides the time.
            width: channels within, a multiple of 4.
            depth: blocks.
            dropout: in the blocks' MLPs.
            cross_attention: whether each block attends to words.
            inputs: how often a token comes with as many channels as it goes with.
        """
        super().__init__()
        channels, rows, columns = shape
        self.enter = nn.Linear(inputs * channels, width)
        self.time = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label = condition_layer(conditions, width, none=True) if conditions.given else None
        self.blocks = nn.ModuleList(Block(width, dropout, cross_attention) for _ in range(depth))
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.leave = nn.Linear(width, channels)
        self.register_buffer("positions", grid_positions(rows, columns, width), persistent=False)
        self._initialise()

    def forward(self, x: Tensor, t: Tensor, encoded: Encoded | None) -> Tensor:
        """Return the prediction, (N, C, rows, columns) as x; t: (N,) times."""
        rows, columns = x.shape[2:]
        tokens = self.enter(x.flatten(2).transpose(1, 2)) + self.positions  # (batch, tokens, width)
        condition = self.time(time_waves(t))
        if self.label is not None and encoded is not None:
            condition = condition + self.label(encoded.pooled)
        for block in self.blocks:
            tokens = block(tokens, condition, encoded)
        shift, scale = self.modulate(condition)[:, None].chunk(2, dim=2)
        out: Tensor = self.leave(_normalised(tokens) * (1 + scale) + shift)
        return out.transpose(1, 2).reshape(len(x), -1, rows, columns)  # (batch, C, rows, columns)

    def _initialise(self) -> None:
        """Begin as the paper's code does: each block the identity, and the prediction zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for module in self.time:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        blocks = [module for module in self.modules() if isinstance(module, Block)]
        modulations = [*(block.modulate for block in blocks), self.modulate]
        attended = [block.cross.out for block in blocks if block.cross is not None]
        for zeroed in (*modulations, *attended, self.leave):
            for parameter in zeroed.parameters():
                nn.init.zeros_(parameter)


class Block(nn.Module):
    """Self-attention and an MLP, each shifted, scaled and gated by the condition (adaLN-Zero).

    Between the two, where asked for, tokens attend to words: Chen et al., 2024, "PixArt-alpha", with
    a last layer that begins at zero.
    """

    def __init__(self, width: int, dropout: float, cross_attention: bool = False) -> None:
        super().__init__()
        self.heads = width // math.gcd(width, HEAD)
        self.cross = Attention(width, self.heads, WIDTH) if cross_attention else None
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, tokens: Tensor, condition: Tensor, encoded: Encoded | None = None) -> Tensor:
        """Return the tokens after the block, (N, T, D); condition: (N, D)."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = self.modulate(condition)[
            :, None
        ].chunk(6, dim=2)
        tokens = tokens + gate_1 * self._attend(_normalised(tokens) * (1 + scale_1) + shift_1)
        if self.cross is not None:
            assert encoded is not None, "there are words"
            tokens = tokens + self.cross(_normalised(tokens), *encoded.attended())
        after: Tensor = tokens + gate_2 * self.mlp(_normalised(tokens) * (1 + scale_2) + shift_2)
        return after

    def _attend(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        joint = self.query_key_value(tokens).view(batch, count, 3, self.heads, -1)
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, head)
        mixed = F.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.project(mixed.transpose(1, 2).reshape(batch, count, width))
        return attended


def _normalised(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)


def time_waves(t: Tensor) -> Tensor:
    """Return cosines and sines of times on the scale 0..1000, (N, 2 * FREQUENCIES) float32."""
    return _waves(t.float(), FREQUENCIES)


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return each place's sines and cosines, (rows * columns, width): half for the row, half not.

    Raises:
        ValueError: if the width is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"expected a width that is a multiple of 4, got {width}")
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    waves = [_waves(axis.flatten().float(), width // 4) for axis in (row, column)]
    return torch.cat(waves, dim=1)


def _waves(numbers: Tensor, frequencies: int) -> Tensor:
    """Return cosines and sines of each number at frequencies from 1 to 1/10000, (N, 2 * F)."""
    steps = torch.arange(frequencies, device=numbers.device) / frequencies
    angles = numbers[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * steps)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
