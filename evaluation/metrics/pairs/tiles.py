"""The products of the rows of two sets, tile by tile, as fast as the device multiplies."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import linear

from evaluation.metrics.pairs.points import Points

SMALL = 256  # rows, of which no more are multiplied with each other at once

T = TypeVar("T")


class Space(threading.local):
    """Memory of a thread's own, in which it works on one tile after another."""

    def __init__(self) -> None:
        self._buffers: Tensor | None = None

    def for_products(self, left: Tensor, right: Tensor) -> Tensor:
        """Return a tensor (n, m) for the products of two blocks, always in the same memory."""
        return self._buffer(0, left, (len(left), len(right)))

    def like(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """Return two tensors like the products; all calls of a thread return the same memory."""
        first, second = (self._buffer(place, products, products.shape) for place in (1, 2))
        return first, second

    def _buffer(self, place: int, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        size = math.prod(shape)
        if self._buffers is None or self._buffers.shape[1] < size:
            self._buffers = like.new_empty((3, size))
        return self._buffers[place, :size].view(shape)


@dataclass(frozen=True)
class Tile:
    """The products (n, m) of the rows of one block with those of another, both centred."""

    rows: slice
    columns: slice
    products: Tensor
    symmetric: bool  # of a set with itself: the tile on the other side of the diagonal is left out
    space: Space

    @property
    def diagonal(self) -> bool:
        """Whether the tile holds the products of rows with themselves."""
        return self.symmetric and self.rows == self.columns


@dataclass(frozen=True)
class _Place:
    """Where a tile is, and the blocks that it comes from."""

    rows: slice
    columns: slice
    left: Tensor
    right: Tensor
    symmetric: bool
    space: Space

    @property
    def turn(self) -> int:
        """Which tiles must be done before: the first column block tells how far to look in others.

        Within one set, its first tile tells so of its columns, too.
        """
        first = self.symmetric and self.rows.start == 0
        return (0 if first else 1) if self.columns.start == 0 else 2

    def tile(self) -> Tile:
        """Return the tile, with its products."""
        packed = self.left.is_mkldnn
        out = None if packed else self.space.for_products(self.left, self.right)
        dots = products(self.left, self.right, out)
        return Tile(self.rows, self.columns, dots, self.symmetric, self.space)


def each_tile(
    a: Points, b: Points, work: Callable[[Tile], T], keep_going: Callable[[], None]
) -> Iterator[T]:
    """Yield what ``work`` makes of each tile of ``a`` and ``b``, column blocks one by one.

    Of a set with itself only the tiles on and below the diagonal are there; the others mirror
    them. Several threads may be at work on some of the next tiles, so ``work`` must change nothing
    that is shared; what it makes comes in the order of the tiles.
    """
    space = Space()
    places = (
        _Place(rows, columns, left, right, symmetric=a is b, space=space)
        for columns, right in b.blocks
        for rows, left in a.blocks
        if a is not b or rows.start >= columns.start
    )
    with _full_precision():
        if cores(a) > 1 and len(a.blocks) > 1:
            yield from _in_threads(places, work, keep_going, cores(a))
        else:
            for place in places:
                keep_going()
                yield _made(work, place)


def cores(points: Points) -> int:
    """Return how many tiles to work on at once.

    Many small steps on each tile leave the cores waiting for each other unless each has its own.
    """
    on_processor = points.centres.device.type == "cpu" and points.centres.dtype == torch.float32
    return torch.get_num_threads() if on_processor else 1


def _in_threads(
    places: Iterable[_Place], work: Callable[[Tile], T], keep_going: Callable[[], None], count: int
) -> Iterator[T]:
    one_core = threadpool_limits(1, user_api="openmp")  # for what is done between the tiles
    with one_core, ThreadPoolExecutor(count, initializer=_use_one_core) as pool:
        for _, together in groupby(places, key=lambda place: place.turn):
            ahead: deque[Future[T]] = deque()
            for place in together:
                keep_going()
                ahead.append(pool.submit(_made, work, place))
                if len(ahead) > 2 * count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()


def _made(work: Callable[[Tile], T], place: _Place) -> T:
    return work(place.tile())


def _use_one_core() -> None:
    """Let this thread, and no other, compute on one core."""
    torch.get_num_threads()  # PyTorch sets a thread's number of cores when it first asks for it
    threadpool_limits(1, user_api="openmp")


def products(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the products (n, m) of the rows of two blocks, packed alike; if not, in ``out``."""
    if a.is_mkldnn:
        return linear(a, b).to_dense()
    if out is None:
        out = a.new_empty(len(a), len(b))
    if a is b and len(a) > SMALL:
        return _own_products(a, out)
    if a.dtype == torch.float64 and a.device.type == "cpu":
        np.matmul(a.numpy(), b.numpy().T, out=out.numpy())  # a faster library than PyTorch's
        return out
    return torch.mm(a, b.T, out=out)


def _own_products(block: Tensor, out: Tensor) -> Tensor:
    """Return the products of the rows of a block with each other, a part of which mirrors one."""
    half = len(block) // 2
    for part in (slice(half), slice(half, None)):
        rows = block[part]
        products(rows, rows, out[part, part])
    out[:half, half:] = products(block[half:], block[:half], out[half:, :half]).T
    return out


@contextmanager
def _full_precision() -> Iterator[None]:
    """Let no library shorten float32 to TF32 or bfloat16 for the time."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
