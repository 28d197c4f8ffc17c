"""Finds the parts of a prepared dataset: a folder that holds `train.npz` and `test.npz` alone."""

from pathlib import Path

from evaluation.imagesets.sources import PARTS, ImageError


def prepared_parts(folder: Path) -> dict[str, Path]:
    """Return the file of each part of a prepared dataset, by its name; {} of anything else.

    Raises:
        ImageError: if other files lie beside them.
    """
    parts = {part: folder / f"{part}.npz" for part in PARTS}
    found = {part: path for part, path in parts.items() if path.is_file()}
    if not found:
        return {}
    for path in sorted(folder.iterdir()):
        if path not in found.values() and not path.name.startswith("."):
            raise ImageError(
                f"{folder.absolute().name}: {path.name}: lies beside {next(iter(found))}.npz; "
                "expected only train.npz and test.npz"
            )
    return found
