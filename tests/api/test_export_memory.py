"""What an export holds in memory does not grow with its rows: ten times the site, in the same memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 16  # MiB; rows of a chunk of the larger site may be longer, and fewer alike
LISTS = ("runs", "samplesets", "evaluations", "losses", "events")


def ran(site: Path, *command: str) -> str:
    environment = {**os.environ, "DATA_DIR": str(site), "PYTHONPATH": f"{ROOT}:{ROOT}/platform"}
    for name in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE"):
        environment.pop(name, None)
    done = subprocess.run(  # our own modules
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def exported(site: Path, kind: str) -> dict[str, dict[str, float]]:
    """Return what each list cost, all of a format in a process of their own."""
    lines = ran(site, "-m", "tests.benchmarks.sites.exports", "--format", kind).splitlines()
    return {told["list"]: told for told in map(json.loads, lines)}


@pytest.mark.slow
def test_a_site_ten_times_as_large_is_exported_in_the_same_memory(tmp_path: Path) -> None:
    ran(tmp_path, "manage.py", "migrate", "-v0")
    ran(tmp_path, "-m", "tests.benchmarks.sites.filling", "1000")
    ran(tmp_path, "manage.py", "rescore")
    kinds = ("csv", "jsonl", "parquet")

    small = {kind: exported(tmp_path, kind) for kind in kinds}
    ran(tmp_path, "-m", "tests.benchmarks.sites.copying", "9")
    large = {kind: exported(tmp_path, kind) for kind in kinds}

    for kind in kinds:
        for name in LISTS:
            assert large[kind][name]["rows"] == 10 * small[kind][name]["rows"]
        before, now = (
            max(site[kind][name]["peak_mib"] for name in LISTS) for site in (small, large)
        )
        assert now - before < MOST, kind
