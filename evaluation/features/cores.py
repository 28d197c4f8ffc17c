"""Work on all cores of the CPU: a few images on each, rather than every operation on all of them."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

Part = TypeVar("Part")
Result = TypeVar("Result")


def on_each_core(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Return ``function`` of every part, in order, in as many threads as torch may use.

    Within a thread an operation of torch has one core. Cores then wait for each other once in a
    call and not after every operation, which matters most where they have other work as well; and
    what one of them works on stays in its own cache. A single part has all cores to itself.
    """
    parts = list(parts)
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        return [function(part) for part in parts]
    with ThreadPoolExecutor(threads, initializer=_keep_to_one_core) as pool:
        return list(pool.map(function, parts))


def _keep_to_one_core() -> None:
    torch.get_num_threads()  # a new thread asks for all cores once, now rather than later
    threadpool_limits(1, user_api="openmp")  # of this thread alone, which ends with the call
