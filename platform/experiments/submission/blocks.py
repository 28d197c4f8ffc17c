"""Blocks of the form: what was typed for each entry, by field, and what presets fill in."""

import re
from collections.abc import Sequence

from django.core.exceptions import BadRequest
from django.http import QueryDict

from experiments.submission import offered
from experiments.submission.specification import MAX_ENTRIES
from experiments.submission.typed import is_place

Block = dict[str, str]  # what was typed in an entry's block, by field
CONFIG = "config-"  # a block's fields whose names begin so are those of the configuration


def new_block(algorithm: str, blocks: Sequence[Block] = (), *, preset: str = "") -> Block:
    """Return a block filled with a preset's values, under a label that is not taken."""
    spec = offered.find(algorithm)
    labels = {block.get("label") for block in blocks}
    label, number = spec.label, 1
    while label in labels:
        number += 1
        label = f"{spec.label} {number}"
    block = {"algorithm": algorithm, "label": label, "include": "on", "samplers": ""}
    preset = preset if preset in spec.presets else ""
    return {**block, "preset": preset, "filled": preset, **filling(algorithm, preset)}


def filling(algorithm: str, preset: str) -> Block:
    """Return the text of every field of a configuration; a box that is not ticked is absent."""
    config = offered.values(algorithm, preset)
    texts = {CONFIG + name: "on" if value is True else str(value) for name, value in config.items()}
    return {name: text for name, text in texts.items() if text != "False"}


def refilled(block: Block) -> Block:
    """Return the block with the values of its preset, where it was filled with another's.

    Fields that hold something else than they were filled with were typed, and stay.
    """
    algorithm = block["algorithm"]
    before, now = block.get("filled", ""), block.get("preset", "")
    known = {"", *offered.find(algorithm).presets}
    if before == now or not {before, now} <= known:
        return block
    old, new = filling(algorithm, before), filling(algorithm, now)
    changed = dict(block) | {"filled": now}
    for name in old.keys() | new.keys():
        if block.get(name) == old.get(name):
            changed.pop(name, None)
            changed |= {name: new[name]} if name in new else {}
    return changed


def read_blocks(data: QueryDict) -> list[Block]:
    """Return what was typed in each block.

    Raises:
        BadRequest: if the page did not come from this form.
    """
    total = data.get("entries-TOTAL", "")
    if not is_place(total) or int(total) > MAX_ENTRIES:
        raise BadRequest(f"expected entries-TOTAL of at most {MAX_ENTRIES}")
    blocks: list[Block] = [{} for _ in range(int(total))]
    for key, value in data.items():
        found = re.fullmatch(r"entries-(\d{1,3})-(.+)", key)
        if found and int(found[1]) < len(blocks):
            blocks[int(found[1])][found[2]] = str(value)
    if not all(offered.is_offered(block.get("algorithm")) for block in blocks):
        raise BadRequest("expected every entry to have an algorithm")
    return blocks
