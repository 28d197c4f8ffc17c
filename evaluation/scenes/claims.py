"""What a scene holds, what a prompt claims of one, and whether it follows; standard library only."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")
SHAPES = ("circle", "square", "triangle", "cross")
SIZES = ("small", "large")
RELATIONS = ("left of", "above")
MOST_OBJECTS = 3  # in a scene
SIDES = (32, 64)  # pixels
VALUES: Mapping[str, tuple[str, ...]] = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}
ATTRIBUTES = ("colour", "shape", "size", "count", "relation")
ALL = "all"
JUDGE = "scenes-1"  # the version of parser and rules, part of a protocol's fingerprint
UNSEEN = "held-out"  # the group of prompts whose pairs no training scene holds

# Pairs of colour and shape that no training scene holds: composition is told from memory by them.
# Every shape and four of the colours lose one, and keep the others.
HELD_OUT = frozenset(
    {("red", "cross"), ("green", "square"), ("blue", "triangle"), ("yellow", "circle")}
)


class ClaimError(ValueError):
    """A record holds no claims; the message begins with the name of the field."""


@dataclass(frozen=True)
class Thing:
    """One object and the box of pixels that it fills: ``left``, ``top`` and its ``extent``."""

    colour: str
    shape: str
    size: str
    left: int
    top: int
    extent: int  # width and height of the box, pixels


@dataclass(frozen=True)
class Scene:
    """One to three objects that do not overlap."""

    things: tuple[Thing, ...]


@dataclass(frozen=True)
class Claim:
    """What is said of some objects of a scene; None = it is left open."""

    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    count: int | None = None  # how many such objects; None = one or more

    @property
    def least(self) -> int:
        """Return how many such objects there must be."""
        return self.count or 1


@dataclass(frozen=True)
class Claims:
    """What a prompt says of a scene: ``relation`` is of the first object to the second."""

    objects: tuple[Claim, ...]
    relation: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; what is left open is left out."""
        objects = [
            {name: value for name, value in vars(claim).items() if value is not None}
            for claim in self.objects
        ]
        return {"objects": objects, "relation": self.relation}


def read_claims(record: object) -> Claims:
    """Return the claims that ``to_record`` wrote.

    Raises:
        ClaimError: if a field is unknown or wrong, or no scene can follow.
    """
    _expect(isinstance(record, Mapping), "claims", "an object", record)
    assert isinstance(record, Mapping), "it was expected"
    unknown = sorted(set(record) - {"objects", "relation"})
    _expect(not unknown, "claims", "objects and relation", unknown)
    objects, relation = record.get("objects"), record.get("relation")
    _expect(isinstance(objects, list) and objects, "claims.objects", "one or more", objects)
    assert isinstance(objects, list), "it was expected"
    claims = tuple(_read_claim(claim) for claim in objects)
    many = sum(claim.least for claim in claims)
    _expect(many <= MOST_OBJECTS, "claims.objects", f"at most {MOST_OBJECTS}", many)
    if relation is not None:
        _expect(relation in RELATIONS, "claims.relation", f"one of {RELATIONS}", relation)
        two = len(claims) == many == 2
        _expect(two, "claims.relation", "two claims of one object each", objects)
    return Claims(claims, relation)


def _read_claim(record: object) -> Claim:
    known = (*VALUES, "count")
    _expect(isinstance(record, Mapping), "claims.objects", "objects", record)
    assert isinstance(record, Mapping), "it was expected"
    for name, value in record.items():
        _expect(name in known, "claims.objects", f"some of {', '.join(known)}", name)
        possible: Sequence[Any] = VALUES.get(name, range(1, MOST_OBJECTS + 1))
        is_one = not isinstance(value, bool | float | list | dict) and value in possible
        _expect(is_one, f"claims.objects.{name}", f"one of {', '.join(map(str, possible))}", value)
    return Claim(**record)


def _expect(holds: object, name: str, expected: str, value: object) -> None:
    if not holds:
        raise ClaimError(f"{name}: expected {expected}, got {value!r}")


def is_related(first: Thing, relation: str, second: Thing) -> bool:
    """Return whether an object lies wholly left of, or above, another: their boxes say so."""
    if relation == "left of":
        return first.left + first.extent <= second.left
    return first.top + first.extent <= second.top


def follows(claims: Claims, scene: Scene) -> dict[str, bool]:
    """Return of each attribute that is claimed whether the scene has it so, and of "all" together.

    A colour, shape or size is right if the claimed ones are among those of the scene, as often as
    claimed, whichever objects have them. The count is right if there are as many objects as claimed
    and no other. A relation is right if two objects that are as claimed have it. "all" is right if
    objects can be found one for each claim, of all its attributes and in the relation, and there
    is no other object.
    """
    found = {
        name: not _claimed(claims, name) - Counter(getattr(t, name) for t in scene.things)
        for name in VALUES
        if _claimed(claims, name)
    }
    if "count" in claimed(claims):
        found["count"] = _is_exact(claims, scene)
    assigned = any(_assignments(claims, scene))
    if claims.relation is not None:
        found["relation"] = assigned
    return found | {ALL: assigned and _is_exact(claims, scene)}


def _claimed(claims: Claims, name: str) -> Counter[str]:
    """Return how often each value of an attribute is claimed."""
    values: Counter[str] = Counter()
    for claim in claims.objects:
        if (value := getattr(claim, name)) is not None:
            values[value] += claim.least
    return values


def _is_exact(claims: Claims, scene: Scene) -> bool:
    """Return whether there are as many objects as are claimed in all."""
    many, found = sum(claim.least for claim in claims.objects), len(scene.things)
    return found == many if all(claim.count for claim in claims.objects) else found >= many


def _assignments(claims: Claims, scene: Scene) -> Iterator[bool]:
    """Yield True for each way to find objects for the claims."""
    slots = [claim for claim in claims.objects for _ in range(claim.least)]
    for things in permutations(scene.things, len(slots)):
        fits = all(_is_as(claim, thing) for claim, thing in zip(slots, things, strict=True))
        if fits and (claims.relation is None or is_related(things[0], claims.relation, things[1])):
            yield True


def _is_as(claim: Claim, thing: Thing) -> bool:
    return all(getattr(claim, name) in (None, getattr(thing, name)) for name in VALUES)


def claimed(claims: Claims) -> frozenset[str]:
    """Return what ``follows`` says of such claims."""
    objects = claims.objects
    names = {
        name for name in (*VALUES, "count") for each in objects if getattr(each, name) is not None
    }
    return frozenset(names | {ALL} | ({"relation"} if claims.relation else set()))


def left_open(claims: Claims) -> tuple[str, ...]:
    """Return colour, shape and size as far as no claim names them."""
    return tuple(name for name in VALUES if name not in claimed(claims))
