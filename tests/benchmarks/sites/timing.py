"""What pages cost: `DATA_DIR=… python -m tests.benchmarks.sites.timing` asks each a few times.

Prints a line per page: the median and the most of the processor's time in milliseconds, the
queries, and the bytes of the answer.
"""

import os
import statistics
import sys
import time

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from catalog.models import Protocol  # needs the lines above
from experiments.models import Experiment


def pages() -> list[str]:
    """Return the addresses that show boards."""
    board = f"leaderboards/{Protocol.objects.get(name='small').fingerprint}/"
    experiment = Experiment.objects.order_by("pk")[0]
    of_api = [f"/api/{board}", f"/api/{board}?format=csv"]
    return ["/", "/leaderboards/", f"/{board}", *of_api, f"/experiments/{experiment.pk}/"]


def measure(address: str, times: int) -> str:
    """Return a line about a page."""
    client = Client(SERVER_NAME="localhost")
    seconds = []
    for _ in range(times):
        with CaptureQueriesContext(connection) as queries:
            begin = time.process_time()
            answer = client.get(address)
            seconds.append(time.process_time() - begin)
    assert answer.status_code == 200, (address, answer.status_code)
    middle, most = statistics.median(seconds), max(seconds)
    size = len(answer.content)
    return f"{1000 * middle:9.0f} ms {1000 * most:9.0f} ms {len(queries):4} queries {size:9,} B  {address[:40]}"


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for address in pages():
        print(measure(address, times), flush=True)  # noqa: T201  # read in the terminal


if __name__ == "__main__":
    main()
