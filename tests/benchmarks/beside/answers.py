"""How long answers take, told alike of ours and of others: nothing but the standard library."""

import time
from collections.abc import Callable
from typing import Any


def told(name: str, read: Callable[[], int], answers: int) -> dict[str, Any]:
    """Return how long a reading takes, which gives how much it read.

    Each of so many times, after one that does not count; in seconds, of the processor and of the clock.
    """
    processor, clock, rows = [], [], read()
    for _ in range(answers):
        begin, began = time.process_time(), time.perf_counter()
        rows = read()
        processor.append(time.process_time() - begin)
        clock.append(time.perf_counter() - began)
    return {"reading": name, "rows": rows, "processor": processor, "clock": clock}
