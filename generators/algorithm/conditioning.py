"""How networks of every family are told what to draw: rows of classes or of words, encoded.

A network has one `ConditionEncoder`, and at each place where the condition acts a layer that
`condition_layer` makes. A class acts through an embedding at each place and needs no encoder; words
are encoded by one layer of a transformer that is trained with the network (Vaswani et al., 2017,
"Attention is all you need"; normalised before each part, positions learned), whose mean acts at each
place through a linear layer, and whose sequence may be attended to.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from generators.algorithm.frozen_text import FrozenEncoder, Held
from generators.specs.conditions import Conditions

WIDTH = 64  # of encoded words
HEADS = 4
PLACES = 0.2  # standard deviation of the positions' first embeddings; of the words' it is 1


class Encoded(NamedTuple):
    """What the places of a network are told."""

    pooled: Tensor  # (N,) int64 classes, or (N, WIDTH) of all words together, of length 1
    sequence: Tensor | None = None  # (N, L, WIDTH), of words alone
    mask: Tensor | None = None  # (N, L) bool, which of them there are

    def attended(self) -> tuple[Tensor, Tensor]:
        """Return the words one by one, and which there are."""
        assert self.sequence is not None, "only words are attended to"
        assert self.mask is not None, "only words are attended to"
        return self.sequence, self.mask


class ConditionEncoder(nn.Module):
    """Rows to what the places of a network are told; without parameters unless there are words."""

    def __init__(self, conditions: Conditions) -> None:
        super().__init__()
        self.words = _word_encoder(conditions) if conditions.in_words else None

    def forward(self, rows: Tensor) -> Encoded:
        """Return the rows, encoded; rows: (N, L) int64."""
        if self.words is None:
            return Encoded(rows[:, 0])
        encoded: Encoded = self.words(rows)
        return encoded


def _word_encoder(conditions: Conditions) -> "WordEncoder | FrozenWords":
    if conditions.frozen is None:
        return WordEncoder(conditions)
    return FrozenWords(FrozenEncoder.of(conditions.frozen))


class FrozenWords(nn.Module):
    """What a frozen text encoder makes of tokens, in our width; of nothing one token of zeros is left.

    The encoder is no part of the network: no checkpoint has it, and no optimiser moves it.
    """

    def __init__(self, encoder: FrozenEncoder) -> None:
        super().__init__()
        self._encoder = Held(encoder)
        self.project = nn.Linear(encoder.width, WIDTH)
        self.norm, self.norm_pooled = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, rows: Tensor) -> Encoded:
        """Return the tokens one by one, and all together; rows: (N, L) int64, a token's id + 1."""
        hidden = self._encoder.kept.hidden(rows)  # (batch, tokens, the encoder's width)
        return _encoded(self.norm(self.project(hidden)), rows, self.norm_pooled)


class WordEncoder(nn.Module):
    """Words look at each other once; of a row that says nothing one token is left, number 0."""

    def __init__(self, conditions: Conditions) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(conditions.words) + 1, WIDTH)
        self.positions = nn.Parameter(torch.empty(conditions.length, WIDTH))
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention(WIDTH, HEADS)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.norm_pooled = nn.LayerNorm(WIDTH)
        # of size 1, as each step would change smaller ones too much; words say more than their places
        nn.init.normal_(self.positions, std=PLACES)

    def forward(self, rows: Tensor) -> Encoded:
        """Return the words one by one, and all together; rows: (N, L) int64."""
        mask = there(rows)
        x = self.tokens(rows) + self.positions  # (batch, words, width)
        seen = self.norm_1(x)
        x = x + self.attention(seen, seen, mask)
        return _encoded(self.norm(x + self.mlp(self.norm_2(x))), rows, self.norm_pooled)


def there(rows: Tensor) -> Tensor:
    """Return which words of rows there are, (N, L) bool: of a row that says nothing the first."""
    mask = rows > 0
    return torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)


def _encoded(x: Tensor, rows: Tensor, norm: nn.Module) -> Encoded:
    """Return words, (N, L, WIDTH), with what they say together: their mean, of length 1."""
    mask = there(rows)
    weights = mask[:, :, None] / mask.sum(1)[:, None, None]
    pooled = norm((weights * x).sum(1)) / math.sqrt(WIDTH)
    return Encoded(pooled, x, mask)


class Attention(nn.Module):
    """Tokens look at what there is to remember, of which a mask tells what there is."""

    def __init__(self, width: int, heads: int, memory: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(memory or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Return what the tokens see, (N, T, width) as they are.

        Args:
            tokens: (N, T, width).
            memory: (N, S, memory).
            mask: (N, S) bool, at least one of each row.
        """
        queries = self._by_head(self.query(tokens))
        keys, values = map(self._by_head, self.key_value(memory).chunk(2, dim=2))
        seen = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :]
        )
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))  # (batch, tokens, width)
        return out

    def _by_head(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(2, (self.heads, -1))
        return heads.transpose(1, 2)  # (batch, heads, tokens, head)


class WordLayer(nn.Linear):
    """What words do at one place; as large, and as quick to learn, as what a class's embedding does."""

    def __init__(self, outputs: int) -> None:
        super().__init__(WIDTH, outputs)
        spread(self)


def condition_layer(
    conditions: Conditions, outputs: int, *, none: bool = False
) -> nn.Embedding | WordLayer:
    """Return the layer that turns `Encoded.pooled` into (N, outputs) at one place.

    Args:
        conditions: what the network is told; of nothing there is one class.
        outputs: the place's width.
        none: whether there is one more class that says nothing; rows of words can say so anyway.
    """
    if conditions.in_words:
        return WordLayer(outputs)
    return nn.Embedding(max(conditions.classes, 1) + none, outputs)


def spread(layer: nn.Embedding | nn.Linear, *, mean: float = 0.0, std: float = 1.0) -> None:
    """Let what a `condition_layer` gives begin normally distributed; a std of 0 draws nothing."""
    if isinstance(layer, nn.Linear):
        nn.init.constant_(layer.bias, mean)
        mean = 0.0
    if std:
        nn.init.normal_(layer.weight, mean, std)
    else:
        nn.init.constant_(layer.weight, mean)
