"""Finds the parts and classes of image files by the folders that they lie in.

Layouts: `train/<class>/*` with or without `test/<class>/*`, `<class>/*`, or images alone
(unlabelled; also directly inside `train/` and `test/`). One folder around everything is looked
through. Classes are sorted by name, by number where every name is a number; images by name within
their class.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeVar

from evaluation.imagesets.sources import LAYOUTS, PARTS, ImageError, Member, Source

Classes = dict[str, list[Member]]  # "" = no classes
Part = TypeVar("Part")


def arrange(source: Source) -> dict[str, Classes]:
    """Return the files as part -> class -> files, "" where there are no parts or no classes.

    Raises:
        ImageError: if the files are not in one of the LAYOUTS, a class is empty, spelt in two
            ways, or not in both parts.
    """
    files, folders = _look_through(
        [(member.steps, member) for member in source.files], source.folders
    )
    if not {steps[0] for steps in folders} & set(PARTS):
        return {"": _classes(source.name, "", files, folders)}
    for steps, member in files:
        if steps[0] not in PARTS:
            raise ImageError(
                f"{source.name}: {member.name}: lies beside train/ and test/; "
                "expected every image inside them"
            )
    parts = {
        part: _classes(
            source.name,
            f"{part}/",
            [(steps[1:], member) for steps, member in files if steps[0] == part],
            [steps[1:] for steps in folders if steps[0] == part and len(steps) > 1],
        )
        for part in PARTS
        if (part,) in folders
    }
    _check_parts(source.name, parts)
    return parts


def choose_part(source: str, layout: dict[str, Part], part: str | None) -> Part:
    """Return what is known of a part, or of the only one there is.

    Raises:
        ImageError: if there is no such part, or none was chosen of two.
    """
    if part is None and len(layout) == 1:
        return next(iter(layout.values()))
    if part in layout:
        return layout[part]
    has = " and ".join(f"{name}/" for name in layout if name) or "no parts"
    asked = "no part was chosen" if part is None else f"{part!r} was asked for"
    raise ImageError(f"{source}: has {has}, but {asked}; expected one of its parts")


def every_file(source: Source, part: str | None) -> list[Member]:
    """Return every file at any depth, sorted by path; with a part, those inside its folder.

    Raises:
        ImageError: if there is no such part.
    """
    files, _ = _look_through([(member.steps, member) for member in source.files], source.folders)
    chosen = [member for steps, member in files if part is None or steps[0] == part]
    if not chosen:
        raise ImageError(f"{source.name}: has no {part}/; expected one of its parts")
    return chosen


Placed = list[tuple[tuple[str, ...], Member]]  # steps that are left, file


def _look_through(
    files: Placed, folders: list[tuple[str, ...]]
) -> tuple[Placed, list[tuple[str, ...]]]:
    """Return the files and folders without the one folder around everything, if there is one."""
    tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    while len(tops) == 1 and not tops & set(PARTS) and all(len(steps) > 1 for steps, _ in files):
        files = [(steps[1:], member) for steps, member in files]
        folders = [steps[1:] for steps in folders if len(steps) > 1]
        tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    return files, folders


def _classes(source: str, part: str, files: Placed, folders: list[tuple[str, ...]]) -> Classes:
    classes: Classes = {}
    spelling: dict[str, str] = {}
    for steps in folders:
        key = unicodedata.normalize("NFKC", steps[0]).casefold().strip()
        if spelling.setdefault(key, steps[0]) != steps[0]:
            raise ImageError(
                f"{source}: {part}{steps[0]}: the same class as {part}{spelling[key]} but for "
                "spelling; expected each class once"
            )
    names = sorted(spelling.values(), key=class_order(spelling.values()))
    classes = {name: [] for name in names} or {"": []}
    for steps, member in files:
        if len(steps) > 2:
            raise ImageError(f"{source}: {member.name}: too deep; expected {LAYOUTS}")
        name = steps[0] if len(steps) == 2 else ""
        if name not in classes:
            raise ImageError(
                f"{source}: {member.name}: lies beside the class folders; "
                "expected every image inside one"
            )
        classes[name].append(member)
    for name, members in classes.items():
        if not members:
            what = "an empty class" if name else "an empty part"
            raise ImageError(f"{source}: {part}{name}: {what}; expected at least one image")
    return classes


def class_order(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Order by number where every name is a number, else by name."""
    if all(re.fullmatch("[0-9]{1,9}", name) for name in names):
        return lambda name: (int(name), name)
    return lambda name: (0, name)


def _check_parts(source: str, parts: dict[str, Classes]) -> None:
    if "train" not in parts:
        raise ImageError(f"{source}: test/ without train/; expected {LAYOUTS}")
    if "test" in parts and ("" in parts["train"]) != ("" in parts["test"]):
        without, having = ("test", "train") if "" in parts["test"] else ("train", "test")
        raise ImageError(
            f"{source}: {without}/: without classes where {having}/ has them; "
            "expected the same classes in both"
        )
    for name in parts.get("test", {}):
        if name not in parts["train"]:
            raise ImageError(
                f"{source}: test/{name}: not a class of train/; expected the same classes in both"
            )
    for name in parts["train"]:
        if "test" in parts and name not in parts["test"]:
            raise ImageError(
                f"{source}: train/{name}: not a class of test/; expected the same classes in both"
            )
