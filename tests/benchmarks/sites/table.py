"""What pages cost at several sizes, in one table: `python -m tests.benchmarks.sites.table SITE SITE …`.

Each SITE is the DATA_DIR of a filled one, the smallest first; another database than its SQLite file
is told by `SITE=postgres://…`; what `timing` printed is read from a file `NAME.jsonl`. Every address
is asked in turn at all sites by a process of its own for each; the table has the median and the
95th percentile of the processor's time (of the clock for PostgreSQL, which is another process, in a
table of its own), queries and bytes, and how much the last site takes of the first. `--out FILE` puts
them into that page of the help, in place of all that stands below its heading `## Every page`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

Measured = Mapping[str, dict[str, Any]]
HEADING = "## Every page\n"
SERVED = "### On PostgreSQL, by the clock\n"
BAR = 100  # milliseconds that the 95th percentile is held to at the largest site
PEAK = ""  # the name under which a site's memory stands


def measured(site: str, times: int, only: str) -> Measured:
    """Return what the addresses of a site cost, without the keys that they have there."""
    folder, _, database = site.partition("=")
    asked = (
        Path(folder).read_text()
        if folder.endswith(".jsonl")
        else _asked(folder, database, times, only)
    )
    found = [json.loads(text) for text in asked.splitlines() if text.startswith("{")]
    kind = "clock" if database else "processor"
    return {
        each.get("name", PEAK): each | {"times": each[kind]} if kind in each else each
        for each in found
    }


def _asked(folder: str, database: str, times: int, only: str) -> str:
    variables = {"DATA_DIR": folder, **({"DATABASE_URL": database} if database else {})}
    command = [sys.executable, "-m", "tests.benchmarks.sites.timing", f"--times={times}"]
    done = subprocess.run(
        [*command, f"--only={only}"],
        env={**os.environ, **variables},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    return done.stdout


def line(name: str, sites: list[Measured]) -> str:
    """Return the line of an address."""
    cells, middles = [], []
    for site in sites:
        found = site.get(name)
        if found is None:
            cells.append("– | ")
            continue
        middle, high = _cuts(found)
        middles.append(middle)
        cells.append(
            f"{middle:.0f} / {high:.0f} | {found['queries']}, {found['bytes'] / 1000:.0f} KB"
        )
    ratio = f"{middles[-1] / middles[0]:.1f}" if len(middles) > 1 else "–"
    return f"| {name} | {' | '.join(cells)} | {ratio} |"


def _cuts(found: Mapping[str, Any]) -> tuple[float, float]:
    """Return the median and the 95th percentile of an address's times, in milliseconds."""
    times = [1000 * seconds for seconds in found["times"]]
    return median(times), quantiles(times, n=20, method="inclusive")[-1]


def counted(sites: list[Measured]) -> str:
    """Return how many addresses are as quick at the largest site as they shall be."""
    small, large = (
        {name: _cuts(each) for name, each in site.items() if name != PEAK}
        for site in (sites[0], sites[-1])
    )
    quick = sum(high <= BAR for _, high in large.values())
    more = sum(middle > 2 * small[name][0] for name, (middle, _) in large.items() if name in small)
    return (
        f"At the largest, {quick} of {len(large)} addresses have a 95th percentile of at most {BAR} ms; "
        f"{more} have a median of more than twice that at the smallest."
    )


def told(given: list[str], sites: list[Measured]) -> str:
    """Return the table in Markdown, and below it what it was measured with."""
    names = [Path(site.partition("=")[0]).stem for site in given]
    heads = [f"{name}: p50 / p95 ms | queries, bytes" for name in names]
    lines = [f"| address | {' | '.join(heads)} | × |", f"|---|{'---|---|' * len(sites)}---|"]
    every = dict.fromkeys(name for site in sites for name in site if name != PEAK)
    lines += [line(name, sites) for name in every]
    peaks = [
        f"{name} {site[PEAK]['peak_mib']:,} MiB at a load of {site[PEAK]['load'][0]:.1f}"
        for name, site in zip(names, sites, strict=True)
        if PEAK in site
    ]
    asked = min(
        len(found["times"]) for site in sites for found in site.values() if "times" in found
    )
    memory = f"; the process had at most: {'; '.join(peaks)}" if peaks else ""
    with_what = f"{os.cpu_count()} cores; each asked {asked} times{memory}."
    return "\n".join([*lines, "", f"{counted(sites)} {with_what}"])


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("sites", nargs="+")
    reader.add_argument("--times", type=int, default=10, help="that each is asked")
    reader.add_argument("--only", default="", help="addresses that hold this text")
    reader.add_argument("--out", type=Path, help="a page that the table is put into")
    given = reader.parse_args()
    found = {site: measured(site, given.times, given.only) for site in given.sites}
    parts: dict[str, list[str]] = {"": [], SERVED: []}
    for site in given.sites:
        parts[SERVED if "=" in site else ""].append(site)
    text = "\n\n".join(
        f"{heading}\n{told(sites, [found[site] for site in sites])}".lstrip("\n")
        for heading, sites in parts.items()
        if sites
    )
    print(text)  # noqa: T201  # read in the terminal
    if given.out:
        above = given.out.read_text().partition(HEADING)[0]
        given.out.write_text(f"{above}{HEADING}\n{text}\n")


if __name__ == "__main__":
    main()
