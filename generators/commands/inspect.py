"""`python -m generators inspect`: what a pipeline's folder is, before anything of it is imported."""

import argparse
import json

from generators.specs.pipelines.card import PipelineCard
from generators.specs.pipelines.reading import inspect as read

EXIT_REFUSED = 2


def inspect(options: argparse.Namespace) -> int:
    """Print what a pipeline's folder is; the exit status is 2 where it would be refused."""
    card = read(options.folder)
    missing = card.missing_extra()
    if options.json:
        record = {"folder": str(options.folder), **card.as_record(), "missing_extra": missing}
        print(json.dumps(record, indent=1))  # noqa: T201  # the result
    else:
        lines = [*_lines(card), *([f"not here: {missing}"] if missing else [])]
        print("\n".join(lines))  # noqa: T201  # the result
    return EXIT_REFUSED if card.problems else 0


def _lines(card: PipelineCard) -> list[str]:
    """Return the card as lines for people."""
    parts = [
        f"  {part.name:<18} {part.class_name:<32} {_numbers(part.parameters)} {part.digest[:12]}"
        for part in card.components
    ]
    problems = [f"refused: {problem}" for problem in card.problems]
    if not card.pipeline:
        return problems
    size = "" if card.width is None else f", {card.width} x {card.height} pixels"
    return [
        f"{card.pipeline}: asked by {card.asked}{size}, {card.parameters:,} parameters",
        f"licence: {card.licence or 'not said'}; digest {card.digest[:12]}",
        *parts,
        *problems,
    ]


def _numbers(parameters: int | None) -> str:
    return f"{'no weights' if parameters is None else f'{parameters:,} parameters':>26}"
