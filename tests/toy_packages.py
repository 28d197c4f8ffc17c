"""The toy metrics and the toy extractor as an installed package."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.plugins import install

TOY = Path(__file__).parent / "toy_scoring"
POINTS = {
    "trilemma.metrics": ("gap = toy_scoring.spec:GAP", "outside = toy_scoring.spec:OUTSIDE"),
    "trilemma.extractors": ("brightness = toy_scoring.spec:BRIGHTNESS",),
}


def written(points: Mapping[str, Sequence[str]]) -> str:
    """Return entry points by group as an installer writes them."""
    lines = [line for group, found in points.items() for line in (f"[{group}]", *found)]
    return "\n".join(lines) + "\n"


def install_scoring(folder: Path, *, version: str = "0.1") -> Path:
    """Install the toy metrics and the toy extractor, and return the folder for the path."""
    files = {f"toy_scoring/{path.name}": path.read_text() for path in TOY.glob("*.py")}
    return install(folder, "toy-scoring", files, written(POINTS), version=version)
