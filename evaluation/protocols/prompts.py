"""What generated images are asked for in words: sets of prompts, known by the digest of their content.

A set is JSON: {"version": 1, "prompts": [{"id", "text", "group", "claims"}, …]}; `claims`, what can
be checked of an image that follows the prompt, may be absent. Image i is asked with prompt i mod P.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from evaluation.imagesets.sources import ImageError
from evaluation.imagesets.texts import check_caption
from evaluation.protocols.checking import (
    ProtocolError,
    expect,
    expect_count,
    expect_digest,
    is_count,
)
from evaluation.scenes.claims import JUDGE, SIDES, ClaimError, read_claims
from evaluation.scenes.prompt_set import SCENES, scenes_prompts

VERSION = 1
PACKAGED = (SCENES,)  # names of sets that come with the installation
MAX_PROMPTS = 10_000
SHOWN = 3  # prompts that a refusal names
MAX_NAME = 100  # characters of an id or a group
_NAME = re.compile(r"[\w.,+ -]+")


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    id, text: unlike the others'. group: what it is counted with. claims: what can be checked of an
    image, None = nothing.
    """

    id: str
    text: str
    group: str
    claims: Mapping[str, Any] | None = None

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; what is absent is left out."""
        record: dict[str, Any] = {"id": self.id, "text": self.text, "group": self.group}
        return record if self.claims is None else {**record, "claims": dict(self.claims)}


@dataclass(frozen=True)
class PromptSet:
    """Prompts in their order."""

    prompts: tuple[Prompt, ...]

    @classmethod
    def from_record(cls, record: Any) -> Self:
        """Return the set of a JSON value.

        Raises:
            ProtocolError: naming the place and what was expected there.
        """
        _check_fields("", record, required={"version", "prompts"})
        version = record["version"]
        expect("version", is_count(version) and version == VERSION, f"{VERSION}", version)
        found = record["prompts"]
        if not isinstance(found, list) or not 1 <= len(found) <= MAX_PROMPTS:
            got = f"{len(found):,} prompts" if isinstance(found, list) else repr(found)[:100]
            raise ProtocolError("prompts", f"expected a list of 1 to {MAX_PROMPTS:,}, got {got}")
        prompts = tuple(_prompt(f"prompts.{i}", each) for i, each in enumerate(found))
        _check_distinct("id", [prompt.id for prompt in prompts])
        _check_distinct("text", [prompt.text for prompt in prompts])
        return cls(prompts)

    @property
    def texts(self) -> list[str]:
        """Return the texts in their order."""
        return [prompt.text for prompt in self.prompts]

    def texts_of(self, count: int) -> list[str]:
        """Return what each of so many images is asked with."""
        return [self.prompts[index % len(self.prompts)].text for index in range(count)]

    def can_be_drawn(self, channels: int, side: int) -> bool:
        """Return whether real images that follow every prompt can be drawn in this size."""
        has_claims = all(prompt.claims is not None for prompt in self.prompts)
        return has_claims and channels == 3 and side in SIDES

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"version": VERSION, "prompts": [prompt.to_record() for prompt in self.prompts]}

    def canonical_json(self) -> str:
        """Return the JSON that the digest is of."""
        return json.dumps(
            self.to_record(), sort_keys=True, separators=(",", ":"), ensure_ascii=True
        )

    def digest(self) -> str:
        """Return the sha256 of the canonical JSON, 64 hexadecimal digits."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()


def asked(prompts: PromptSet, images_per_prompt: int) -> dict[str, Any]:
    """Return what a protocol's record says of the prompts that images are asked with."""
    has_claims = any(prompt.claims is not None for prompt in prompts.prompts)
    return {
        "digest": prompts.digest(),
        "images_per_prompt": images_per_prompt,
        "judge": JUDGE if has_claims else None,
    }


def order_of_prompts(captions: Sequence[str], prompts: PromptSet, each: int) -> list[int]:
    """Return which image is the i-th that is asked for, with prompt i mod P, by their captions.

    captions: what each image was asked with. The k-th image of a prompt in the given order is its
    k-th.

    Raises:
        ProtocolError: if a caption is no prompt, or not every prompt has ``each`` images.
    """
    places: dict[str, list[int]] = {text: [] for text in prompts.texts}
    for index, caption in enumerate(captions):
        if caption not in places:
            raise ProtocolError("captions", f"image {index} was asked with no prompt: {caption!r}")
        places[caption].append(index)
    wrong = [
        f"{text!r} has {len(found):,} of {each:,} images"
        for text, found in places.items()
        if len(found) != each
    ]
    if wrong:
        more = f", and {len(wrong) - SHOWN:,} more prompts" if len(wrong) > SHOWN else ""
        raise ProtocolError("captions", "; ".join(wrong[:SHOWN]) + more)
    return [found[k] for k in range(each) for found in places.values()]


def real_pairs(captions: Sequence[str], prompts: PromptSet, each: int) -> list[int] | None:
    """Return which real image is the i-th that is asked for, with prompt i mod P, by their captions.

    None unless every prompt is the caption of ``each`` images at least.
    """
    places: dict[str, list[int]] = {text: [] for text in prompts.texts}
    for index, caption in enumerate(captions):
        if caption in places:
            places[caption].append(index)
    if any(len(found) < each for found in places.values()):
        return None
    return [found[k] for k in range(each) for found in places.values()]


def check_asked(record: Any) -> None:
    """Raise ProtocolError unless it is what `asked` returns, or None."""
    if record is None:
        return
    _check_fields("prompts", record, required={"digest", "images_per_prompt", "judge"})
    expect_digest("prompts.digest", record["digest"])
    expect_count("prompts.images_per_prompt", record["images_per_prompt"], minimum=1)
    judge = record["judge"]
    expect("prompts.judge", judge is None or isinstance(judge, str), "text or null", judge)


def read_prompts(text: str) -> PromptSet:
    """Return the set that a JSON text holds.

    Raises:
        ProtocolError: if it holds none; the message names the place.
    """
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("prompts", f"expected JSON ({error})") from error
    return PromptSet.from_record(record)


def packaged_prompts(name: str) -> PromptSet:
    """Return the prompts that come with the installation under a name: "scenes".

    Raises:
        ValueError: if there are none of this name.
    """
    if name != SCENES:
        raise ValueError(f"expected the packaged prompts {SCENES}, got {name!r}")
    return PromptSet.from_record(scenes_prompts())


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _prompt(where: str, record: Any) -> Prompt:
    _check_fields(where, record, required={"id", "text", "group"}, optional={"claims"})
    for name in ("id", "group"):
        value = record[name]
        is_name = isinstance(value, str) and len(value) <= MAX_NAME and _NAME.fullmatch(value)
        expected = f"1 to {MAX_NAME} letters, digits and spaces"
        expect(f"{where}.{name}", bool(is_name), expected, value)
    try:
        text = check_caption(f"{where}.text", record["text"])
    except ImageError as error:
        field, _, fault = str(error).partition(": ")
        raise ProtocolError(field, fault) from error
    if "claims" in record:
        try:
            read_claims(record["claims"])
        except ClaimError as error:
            field, _, fault = str(error).partition(": ")
            raise ProtocolError(f"{where}.{field}", fault) from error
    return Prompt(record["id"], text, record["group"], record.get("claims"))


def _check_fields(
    where: str, record: Any, *, required: Collection[str], optional: Collection[str] = ()
) -> None:
    expect(where or "prompts", isinstance(record, Mapping), "an object", record)
    for name in sorted({*required} ^ record.keys() - {*optional}):
        what = "unknown" if name in record else "missing"
        raise ProtocolError(f"{where}.{name}".lstrip("."), what)


def _check_distinct(what: str, values: list[str]) -> None:
    seen: dict[str, int] = {}
    for index, value in enumerate(values):
        if (first := seen.setdefault(value, index)) != index:
            raise ProtocolError(
                f"prompts.{index}.{what}", f"expected another than prompt {first} has: {value!r}"
            )
