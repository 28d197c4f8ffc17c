"""The rows of a board as HTML: a page has hundreds of numbers, each of a dozen parts.

Written here as a template would, in a tenth of its time; whatever is not ours is escaped.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from django import template
from django.utils.safestring import SafeString

from leaderboards.board import Row
from leaderboards.scores.deltas import Delta
from leaderboards.shown import ShownCell, ShownRow
from leaderboards.tables import Table
from web import board_names
from web.formats import significant
from web.templatetags.figures import cost

register = template.Library()

NEARER = (
    "†",
    "Nearer to the reference than unseen real images are: "
    "the model may have copied training images.",
    "nearer to the reference than the control",
)
NEAR_TRAINING = (
    "‡",
    "Nearer to single training images than unseen real images are: these may be copies.",
    "nearer to single training images than the control",
)


@register.simple_tag
def rows(shown: Iterable[ShownRow], table: Table) -> SafeString:
    """Return rows of a board's table, each with the heading that stands before it."""
    named = {"of_all": table.board.experiment is None, "tells_kind": bool(table.mixed)}
    with_deltas = table.board.baseline is not None
    found = []
    for each in shown:
        if each.heading:
            found.append(board_names.heading(each.heading, table.width))
        found.append(board_names.begin(each, **named))
        found.extend(_row(each, with_deltas=with_deltas))
    return SafeString("".join(found))


def _row(shown: ShownRow, *, with_deltas: bool) -> Iterator[str]:
    """Yield what stands behind a row's name: its numbers, and what else is said of it."""
    for cell in shown.cells:
        yield (
            f'<td class="{cell.classes}" data-column="{escape(cell.key)}" data-value="{cell.raw}"'
            f' title="{escape(cell.note)}"><span class="ranking-value">{_value(cell, shown.row)}'
            f"</span>{_spread(cell)}</td>\n"
        )
        if with_deltas:
            yield _delta(cell.key, cell.delta)
    opens = " opens-group"
    for fact, text in shown.facts:
        yield f'<td class="ranking-fact{opens}" data-fact="{fact.key}">{escape(text) or "–"}</td>\n'
        opens = ""
    yield "</tr>\n"


@register.simple_tag
def curve_rows(curves: Iterable[Mapping[str, Any]]) -> SafeString:
    """Return the rows of a chart's numbers: of each curve's points the name, sampler and values."""
    return SafeString(
        "".join(
            _point(escape(curve["label"]), each) for curve in curves for each in curve["points"]
        )
    )


def _point(label: str, point: Mapping[str, Any]) -> str:
    quality = point["quality"]
    low, high = quality["low"], quality["high"]
    interval = ""
    if low is not None:
        interval = f' <span class="muted">[{significant(low)}, {significant(high)}]</span>'
    return (
        f'<tr><th scope="row" class="name">{label}</th><td>{escape(point["sampler"])}</td>'
        f'<td class="number">{significant(point["nfe"])}</td>'
        f'<td class="number">{significant(quality["value"])}{interval}</td></tr>\n'
    )


def _value(cell: ShownCell, row: Row) -> str:
    """Return the number with its unit and marks, and how many seeds are in it where some are lost."""
    if cell.is_plain:
        return escape(cell.text)
    found, column = cell.cell, cell.head.column
    text = escape(cell.text)
    if found.declared is not None:
        text = (
            f'{escape(cost(found.declared, column.key))} <span class="ranking-unit">declared</span>'
        )
    elif column.corner == "cost" and not found.unknown:
        text = escape(cost(found.value, column.key))
    if found.beats_control:
        text += _mark(*NEARER)
    if found.near_training:
        text += _mark(*NEAR_TRAINING)
    if found.no_merit:
        text += _mark("°", found.no_merit, found.no_merit)
    if found.seeds_lost and found.seeds_lost != row.seeds_failed:
        text += f'<span class="ranking-unit">{len(found.seeds)}/{row.seeds_total}</span>'
    return text


def _mark(sign: str, title: str, words: str) -> str:
    return (
        f'<span class="ranking-mark"><span aria-hidden="true" title="{escape(title)}">{sign}</span>'
        f'<span class="visually-hidden"> {escape(words)}</span></span>'
    )


def _spread(cell: ShownCell) -> str:
    spread = f'<span class="ranking-spread">{escape(cell.spread)}</span>' if cell.spread else ""
    if not cell.has_part:
        return spread
    part = escape(cost(cell.cell.autoencoder_seconds, cell.key))
    return f'{spread}<span class="ranking-spread ranking-part">of which autoencoder {part}</span>'


def _delta(key: str, delta: Delta) -> str:
    """Return the cell of a difference, empty where there is nothing to compare."""
    verdict = escape(delta.verdict)
    kind = f'<td class="ranking-delta{f" delta-{verdict}" if verdict else ""}"'
    if not delta.text:
        return f"{kind}></td>\n"
    title = f' title="{escape(delta.note)}"' if delta.note else ""
    said = f'<span class="visually-hidden"> {verdict}</span>' if verdict else ""
    spread = f'<span class="ranking-spread">{escape(delta.spread)}</span>' if delta.spread else ""
    return (
        f'{kind} data-delta="{escape(key)}" data-value="{escape(delta.raw)}"{title}>'
        f'<span class="ranking-value">{escape(delta.text)}</span>{said}{spread}</td>\n'
    )
