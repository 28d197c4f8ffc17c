"""Packages of other people, as an installer lays them out."""

from collections.abc import Mapping
from pathlib import Path


def install(
    folder: Path, name: str, files: Mapping[str, str], entry_points: str, *, version: str = "0.1"
) -> Path:
    """Lay out a distribution with its modules and entry points; return the folder for the path."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    facts = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "entry_points.txt").write_text(entry_points)
    return folder
