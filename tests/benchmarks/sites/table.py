"""What pages cost at several sizes, in one table: `python -m tests.benchmarks.sites.table SITE SITE …`.

Each SITE is the DATA_DIR of a filled one, the smallest first; another database than its SQLite file
is told by `SITE=postgres://…`. Every address is asked in turn at all sites by a process of its own
for each; the table has the median and the 95th percentile of the processor's time (of the clock for
another database, which is another process), queries and bytes, and how much the last site takes of
the first.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median, quantiles
from typing import Any

Measured = Mapping[str, dict[str, Any]]


def measured(site: str, times: int, only: str) -> Measured:
    """Return what the addresses of a site cost, without the keys that they have there."""
    folder, _, database = site.partition("=")
    variables = {"DATA_DIR": folder, **({"DATABASE_URL": database} if database else {})}
    command = [sys.executable, "-m", "tests.benchmarks.sites.timing", f"--times={times}"]
    done = subprocess.run(
        [*command, f"--only={only}"],
        env={**os.environ, **variables},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        each["name"]: each | {"times": each["clock" if database else "processor"]} for each in found
    }


def line(name: str, sites: list[Measured]) -> str:
    """Return the line of an address."""
    cells, middles = [], []
    for site in sites:
        found = site.get(name)
        if found is None:
            cells.append("– | ")
            continue
        times = [1000 * seconds for seconds in found["times"]]
        middles.append(median(times))
        high = quantiles(times, n=20, method="inclusive")[-1]
        cells.append(
            f"{middles[-1]:.0f} / {high:.0f} | {found['queries']}, {found['bytes'] / 1000:.0f} KB"
        )
    ratio = f"{middles[-1] / middles[0]:.1f}" if len(middles) > 1 else "–"
    return f"| {name} | {' | '.join(cells)} | {ratio} |"


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("sites", nargs="+")
    reader.add_argument("--times", type=int, default=9, help="that each is asked")
    reader.add_argument("--only", default="", help="addresses that hold this text")
    given = reader.parse_args()
    sites = [measured(site, given.times, given.only) for site in given.sites]
    heads = [
        f"{site.partition('=')[0].rstrip('/').split('/')[-1]}: p50 / p95 ms | queries, bytes"
        for site in given.sites
    ]
    lines = [f"| address | {' | '.join(heads)} | × |", f"|---|{'---|---|' * len(sites)}---|"]
    lines += [line(name, sites) for name in dict.fromkeys(name for site in sites for name in site)]
    busy = os.getloadavg()
    print("\n".join(lines))  # noqa: T201  # read in the terminal
    print(f"\n{os.cpu_count()} cores, load of the last minutes {busy[0]:.1f}, {busy[2]:.1f}")  # noqa: T201


if __name__ == "__main__":
    main()
