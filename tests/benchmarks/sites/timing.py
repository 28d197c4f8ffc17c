"""What pages cost: `DATA_DIR=… python -m tests.benchmarks.sites.timing` asks each a few times.

Prints a line of JSON per address: the times of its answers in seconds, of the processor and of the
clock, the queries, the bytes; and a last one with the most memory that the process had and the machine's load. `table` runs this for several sites and prints what came of it.
"""

import argparse
import json
import os
import re
import resource
import time
from typing import Any

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ |= {"API_RATE_ACCOUNT": "", "LOG_LEVEL": "ERROR"}
    django.setup()

from accounts.models import Role, User  # needs the lines above
from config.loading import load_site
from tests.benchmarks.sites import addresses


def admins_client() -> Client:
    """Return a client that may see everything."""
    user, _ = User.objects.get_or_create(username="measuring", defaults={"role": Role.ADMIN})
    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    return client


def measure(client: Client, address: str, times: int) -> dict[str, Any]:
    """Return what an address costs; the first answer fills caches, the second counts queries.

    Neither counts: what keeps the texts of queries asks SQLite for each of their parameters.
    """
    client.get(address).getvalue()
    connection.queries_log.clear()  # it holds 9,000, and counts no more
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
        size = len(answer.getvalue())
    number = len(queries)  # now: the next request forgets them
    assert answer.status_code == 200, (address, answer.status_code)
    processor, clock = [], []
    for _ in range(times):
        begin = time.process_time(), time.perf_counter()
        client.get(address).getvalue()
        processor.append(time.process_time() - begin[0])
        clock.append(time.perf_counter() - begin[1])
    return {
        "name": named(address),
        "processor": processor,
        "clock": clock,
        "queries": number,
        "bytes": size,
    }


def named(address: str) -> str:
    """Return an address without the keys, which are others at another site."""
    short = re.sub(r"[0-9a-f]{64}", "…", re.sub(r"cursor=[^&]+", "cursor=…", address))
    short = re.sub(r"(entries|baseline)=[^&]+(&entries=[^&]+)*", r"\1=…", short)
    return re.sub(r"/\d+/", "/1/", re.sub(r"experiment=\d+", "experiment=1", short))


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--times", type=int, default=5, help="that each is asked")
    reader.add_argument("--only", default="", help="addresses that hold this text")
    given = reader.parse_args()
    load_site()  # as the processes do that serve pages
    client = admins_client()
    for address in addresses.of_site():
        if given.only in address:
            print(json.dumps(measure(client, address, given.times)), flush=True)  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux tells KiB
    print(json.dumps({"peak_mib": round(peak), "load": os.getloadavg()}))  # noqa: T201


if __name__ == "__main__":
    main()
