"""How the processor computes, for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALLEST_NORMAL = 2.0**-1022


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return what forward passes compute in: bfloat16, or None for float32.

    `auto` is bfloat16 on GPUs that compute in it; on processors it gains nothing at our sizes.
    """
    if precision == "auto":
        gains = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if gains else None
    return {"float32": None, "bfloat16": torch.bfloat16}[precision]


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the layout in which convolutions are fastest on the device."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


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
