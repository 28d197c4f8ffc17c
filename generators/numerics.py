"""How the processor computes, for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALLEST_NORMAL = 2.0**-1022


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Treat numbers too small to be normal as zero: on the CPU they cost a hundred times more.

    The setting belongs to the thread, so it is put back: other code may count on such numbers.
    """
    before = SMALLEST_NORMAL / 2 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
