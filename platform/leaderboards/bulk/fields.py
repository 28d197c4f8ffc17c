"""The columns of an exported board: their names and kinds, in their order."""

from collections.abc import Iterable

from leaderboards.board import Board, Column
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import Field, Kind

ALL = Choice()  # columns
DIFFERENCE: dict[str, Kind] = {
    **dict.fromkeys(("minus baseline", "minus baseline low", "minus baseline high"), "number"),
    "is beside baseline": "text",
}
ABOUT: dict[str, Kind] = {  # a row, besides its cells
    **dict.fromkeys(("rank", "rank low", "rank high"), "whole"),
    **dict.fromkeys(("leads", "provisional"), "flag"),
    "experiment": "text",
    "experiment_id": "whole",
    "submitter": "text",
    "entry": "text",
    "entry_id": "whole",
    **dict.fromkeys(("family", "algorithm", "sampler", "kind"), "text"),
    "control": "flag",
    **dict.fromkeys(("control_kind", "seeds"), "text"),
    **dict.fromkeys(("seeds_scored", "seeds_total", "seeds_failed"), "whole"),
    "protocol": "text",
    "budget_images": "whole",
    "budget_seconds": "number",
    "device": "text",
    "scored_at": "text",
    "same_as": "text",
    "chosen_by": "text",
    "findings": "text",
}
OF_METRIC: dict[str, Kind] = {
    **dict.fromkeys(("low", "high"), "number"),
    "interval of": "text",
    "plug-in": "number",
    **dict.fromkeys(("seeds", "remarks"), "text"),
}
OF_COST: dict[str, Kind] = {"is": "text", "declared": "number"}
AUTOENCODER_COST = "device_seconds of autoencoder"
RECONSTRUCTION = "reconstruction"  # begins the names of what autoencoders lose


def fields(board: Board, of_autoencoders: Iterable[str], choice: Choice = ALL) -> list[Field]:
    """Return the exported columns; those of autoencoders are there where any row of all has them."""
    found = [Field(name, kind) for name, kind in ABOUT.items()]
    for column in choice.exported(board):
        name, parts = field_of(column), OF_COST if column.corner == "cost" else OF_METRIC
        found.append(Field(name, "number"))
        found += [Field(f"{name} {part}", kind) for part, kind in parts.items()]
        if board.baseline is not None:
            found += [Field(f"{name} {part}", kind) for part, kind in DIFFERENCE.items()]
    return found + [Field(name, "number") for name in of_autoencoders]


def field_of(column: Column) -> str:
    """Return the name under which a column's value is exported."""
    return column.key if column.corner == "cost" else column.label
