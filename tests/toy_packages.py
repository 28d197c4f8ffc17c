"""Lays packages out as pip would install them, for processes that are given the folder as a path."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent
SCORING = {
    "trilemma.metrics": ("gap = toy_scoring.spec:GAP", "outside = toy_scoring.spec:OUTSIDE"),
    "trilemma.extractors": ("brightness = toy_scoring.spec:BRIGHTNESS",),
}


def install(
    folder: Path, name: str, points: Mapping[str, Sequence[str]], *, version: str = "0.1"
) -> Path:
    """Write what says that a distribution is installed, with its entry points by group."""
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [line for group, found in points.items() for line in (f"[{group}]", *found)]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def install_scoring(folder: Path, *, version: str = "0.1") -> Path:
    """Install the toy metrics and the toy extractor, and return the folder for the path."""
    shutil.copytree(TESTS / "toy_scoring", folder / "toy_scoring")
    return install(folder, "toy_scoring", SCORING, version=version)
