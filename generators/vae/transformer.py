"""A causal transformer over the tokens of a code, conditional on the class or on words.

Vaswani et al., 2017, "Attention is all you need"; normalisation before each layer and GELU as in
Radford et al., 2019, "Language models are unsupervised multitask learners". The class, or
what the words say together, is the first token, so that the sequence needs no other beginning;
positions are learned.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.conditioning import ConditionEncoder, WordLayer, spread
from generators.specs.conditions import Conditions

INITIAL_SCALE = 0.02  # standard deviation of initial weights, GPT-2's


@dataclass
class Past:
    """Keys and values of the tokens that one block has seen, in room for all there will be."""

    keys: Tensor  # (N, H, T, D)
    values: Tensor  # (N, H, T, D)
    length: int = 0  # tokens seen

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take in those of one more token, (N, H, 1, D), and return all so far."""
        self.keys[:, :, self.length] = keys[:, :, 0]
        self.values[:, :, self.length] = values[:, :, 0]
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class CausalTransformer(nn.Module):
    """The distribution of each token given the condition and the tokens before it."""

    def __init__(
        self,
        *,
        codes: int,  # K, of which each token is one
        tokens: int,  # T, per image
        conditions: Conditions,
        width: int,
        depth: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.codes, self.tokens = codes, tokens
        classes = 0 if conditions.in_words else max(conditions.classes, 1)
        self.embed = nn.Embedding(codes + classes, width)
        self.positions = nn.Embedding(tokens, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        self.apply(_initialise)
        self.condition = ConditionEncoder(conditions)
        self.told = WordLayer(width) if conditions.in_words else None
        if self.told is not None:
            spread(self.told, std=INITIAL_SCALE)

    def beginning(self, labels: Tensor) -> Tensor:
        """Return the first token's vector, (N, width); labels: (N, L) int64."""
        encoded = self.condition(labels)
        if self.told is None:
            first: Tensor = self.embed(self.codes + encoded.pooled)
        else:
            first = self.told(encoded.pooled)
        return first

    def log_likelihood(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Return log P(code) of each token in nats, (N, T); codes: (N, T), labels: (N, L) int64."""
        inputs = torch.cat([self.beginning(labels)[:, None], self.embed(codes[:, :-1])], dim=1)
        logits = self(inputs).float()
        losses = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
        return -losses

    def room(self, count: int) -> list[Past]:
        """Return room for what the blocks will have seen of `count` sequences."""
        weight = self.head.weight

        def empty(heads: int) -> Tensor:
            return weight.new_empty(count, heads, self.tokens, weight.shape[1] // heads)

        heads = [block.attention.heads for block in self._blocks()]
        return [Past(empty(h), empty(h)) for h in heads]

    def forward(self, inputs: Tensor, past: list[Past] | None = None) -> Tensor:
        """Return the logits of the token after each input, (N, S, K).

        Args:
            inputs: (N, S, width), of the condition first and then of codes (`embed`); whole
                sequences, or one token after the past.
            past: of the tokens before, which takes in this one.
        """
        offset = past[0].length if past else 0
        positions = torch.arange(offset, offset + inputs.shape[1], device=inputs.device)
        x = self.dropout(inputs + self.positions(positions))
        for index, block in enumerate(self._blocks()):
            x = block(x, past[index] if past else None)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def _blocks(self) -> list["Block"]:
        return [block for block in self.blocks if isinstance(block, Block)]


class Block(nn.Module):
    """Attention and a perceptron, each added to what goes in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Return x, (N, S, width), with what the block adds."""
        x = x + self.dropout(self.attention(self.norm_1(x), past))
        mixed: Tensor = x + self.dropout(self.mlp(self.norm_2(x)))
        return mixed


class Attention(nn.Module):
    """Each token looks at itself and at those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """Return what the tokens see, shaped as x: (N, S, width)."""
        count, length, width = x.shape
        qkv = self.qkv(x).view(count, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, H, S, D)
        if past is not None:
            k, v = past.extend(k, v)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        out: Tensor = self.out(seen.transpose(1, 2).reshape(count, length, width))
        return out


def choose(logits: Tensor, uniform: Tensor, *, temperature: float, top_k: int) -> Tensor:
    """Return a code for each row by the inverse of its distribution function, (N,) int64.

    Args:
        logits: (N, K).
        uniform: (N,) in (0, 1), all the randomness there is.
        temperature: divides the logits.
        top_k: codes less likely than the k-th are left out; 0 = none is.
    """
    scores = logits.double() / temperature
    if 0 < top_k < scores.shape[1]:
        smallest = scores.topk(top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < smallest, -torch.inf)
    bounds = scores.softmax(1).cumsum(1)
    level = uniform.double()[:, None] * bounds[:, -1:]
    return torch.searchsorted(bounds, level, right=True).squeeze(1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_SCALE)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
