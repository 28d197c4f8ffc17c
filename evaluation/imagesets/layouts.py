"""Finds the parts and classes of image files by the folders that they lie in.

Layouts: `train/<class>/*` with or without `test/<class>/*`, `<class>/*`, or images alone
(unlabelled; also directly inside `train/` and `test/`). One folder around everything is looked
through. Parts may be spelt in capitals; `val/`, `valid/` or `validation/` beside them is a part of
its own, which nobody gets who does not ask for it. Where files beside the images have labels, these
are the classes, and folders are not. Classes are sorted by name, by number where every name is a number;
images by name within their class.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from evaluation.imagesets.metadata import read_metadata
from evaluation.imagesets.sources import LAYOUTS, PARTS, VALIDATION, ImageError, Member, Source

Classes = dict[str, list[Member]]  # "" = no classes
Placed = list[tuple[tuple[str, ...], Member]]  # steps that are left, file

_PART_NAMES = {name: name for name in (*PARTS, VALIDATION)} | dict.fromkeys(
    ("val", "valid"), VALIDATION
)


@dataclass(frozen=True)
class Arranged:
    """Image files by part and class, their captions, and what of their source is none of these.

    parts: part -> class -> files, "" where there are no parts or no classes. captions: by the names
    of images; {} = no captions.
    """

    name: str  # of the source
    parts: dict[str, Classes]
    rest: list[str]
    captions: dict[str, str] = field(default_factory=dict)

    def choose(self, part: str | None) -> Classes:
        """Return the classes of a part, or of the only one there is.

        Raises:
            ImageError: if there is no such part, or none was chosen of two.
        """
        names = [name for name in self.parts if name != VALIDATION]
        if part is None and len(names) == 1:
            return self.parts[names[0]]
        if part in self.parts:
            if part == VALIDATION:
                _check_same_classes(self.name, self.parts, part)
            return self.parts[part]
        has = " and ".join(f"{name}/" for name in self.parts if name) or "no parts"
        asked = "no part was chosen" if part is None else f"{part!r} was asked for"
        raise ImageError(f"{self.name}: has {has}, but {asked}; expected one of its parts")

    def left_out(self, part: str | None) -> tuple[str, ...]:
        """Return in words what somebody does not see who reads a part."""
        found = list(self.rest)
        if VALIDATION in self.parts and part != VALIDATION:
            count = sum(map(len, self.parts[VALIDATION].values()))
            found.append(f"{count:,} images of {VALIDATION}/, a part of its own")
        return tuple(found)


def part_name(step: str) -> str | None:
    """Return the part that a folder or table of this name is of, None if of none."""
    return _PART_NAMES.get(step.casefold())


def arrange(source: Source) -> Arranged:
    """Return the files of a source by part and class.

    Raises:
        ImageError: if the files are not in one of the LAYOUTS, a part or class is empty or spelt in
            two ways, a class is not in both train and test, or metadata is wrong.
    """
    metadata = read_metadata(source)
    files, folders = _look_through(
        [(member.steps, member) for member in source.files], source.folders
    )
    if not _has_parts({steps[0] for steps in folders}):
        classes = _classes(source.name, "", files, folders, metadata.labels)
        return Arranged(source.name, {"": classes}, metadata.left_out(source), metadata.captions)
    spelling = _spelling_of_parts(source.name, [steps[0] for steps in folders])
    for steps, member in files:
        if steps[0] not in spelling.values():
            raise ImageError(
                f"{source.name}: {member.name}: lies beside train/ and test/; "
                "expected every image inside them"
            )
    parts = {
        part: _classes(
            source.name,
            f"{spelling[part]}/",
            [(steps[1:], member) for steps, member in files if steps[0] == spelling[part]],
            [steps[1:] for steps in folders if steps[0] == spelling[part] and len(steps) > 1],
            metadata.labels,
        )
        for part in (*PARTS, VALIDATION)
        if part in spelling
    }
    if "train" not in parts:
        raise ImageError(f"{source.name}: test/ without train/; expected {LAYOUTS}")
    if "test" in parts:
        _check_same_classes(source.name, parts, "test")
    return Arranged(source.name, parts, metadata.left_out(source), metadata.captions)


def every_file(source: Source, part: str | None) -> list[Member]:
    """Return every file at any depth, sorted by path; with a part, those inside its folder.

    Raises:
        ImageError: if there is no such part.
    """
    files, _ = _look_through([(member.steps, member) for member in source.files], source.folders)
    chosen = [member for steps, member in files if part in (None, part_name(steps[0]))]
    if not chosen:
        raise ImageError(f"{source.name}: has no {part}/; expected one of its parts")
    return chosen


def _has_parts(tops: Iterable[str]) -> bool:
    return any(part_name(top) in PARTS for top in tops)


def _spelling_of_parts(source: str, tops: Iterable[str]) -> dict[str, str]:
    """Return how each part's folder is spelt."""
    spelling: dict[str, str] = {}
    for top in tops:
        part = part_name(top)
        if part is not None and spelling.setdefault(part, top) != top:
            raise ImageError(
                f"{source}: {top}: the same part as {spelling[part]}; expected each part once"
            )
    return spelling


def _look_through(
    files: Placed, folders: list[tuple[str, ...]]
) -> tuple[Placed, list[tuple[str, ...]]]:
    """Return the files and folders without the one folder around everything, if there is one."""
    tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    while len(tops) == 1 and not _has_parts(tops) and all(len(steps) > 1 for steps, _ in files):
        files = [(steps[1:], member) for steps, member in files]
        folders = [steps[1:] for steps in folders if len(steps) > 1]
        tops = {steps[0] for steps, _ in files} | {steps[0] for steps in folders}
    return files, folders


def _classes(
    source: str,
    part: str,
    files: Placed,
    folders: list[tuple[str, ...]],
    labels: dict[str, str],  # by the names of images; {} = folders are classes
) -> Classes:
    if labels:
        files = [((labels[member.name], steps[-1]), member) for steps, member in files]
        folders = [steps[:1] for steps, _ in files]
    spelling: dict[str, str] = {}
    for steps in folders:
        key = unicodedata.normalize("NFKC", steps[0]).casefold().strip()
        if spelling.setdefault(key, steps[0]) != steps[0]:
            raise ImageError(
                f"{source}: {part}{steps[0]}: the same class as {part}{spelling[key]} but for "
                "spelling; expected each class once"
            )
    names = sorted(spelling.values(), key=class_order(spelling.values()))
    classes: Classes = {name: [] for name in names} or {"": []}
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


def check_labels_alike(source: str, train: Sequence[str], test: Sequence[str]) -> None:
    """Raise ImageError if a label is not of the same class in both parts.

    The test part may lack the last classes.
    """
    if test == train[: len(test)]:
        return
    for name in test:
        if name not in train:
            raise ImageError(
                f"{source}: test/{name}: not a class of train/; expected the same classes in both"
            )
    missing = next(name for name in train if name not in test)
    raise ImageError(
        f"{source}: train/{missing}: not a class of test/; expected the same classes in both"
    )


def class_order(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Order by number where every name is a number, else by name."""
    if all(re.fullmatch("[0-9]{1,9}", name) for name in names):
        return lambda name: (int(name), name)
    return lambda name: (0, name)


def _check_same_classes(source: str, parts: dict[str, Classes], part: str) -> None:
    """Raise ImageError unless a part has the classes of train/."""
    train, other = parts["train"], parts[part]
    if ("" in train) != ("" in other):
        without, having = (part, "train") if "" in other else ("train", part)
        raise ImageError(
            f"{source}: {without}/: without classes where {having}/ has them; "
            "expected the same classes in both"
        )
    for here, there in ((part, "train"), ("train", part)):
        for name in parts[here]:
            if name not in parts[there]:
                raise ImageError(
                    f"{source}: {here}/{name}: not a class of {there}/; "
                    "expected the same classes in both"
                )
