"""The numbers of a board's row as HTML: a page has hundreds, each of a dozen parts.

Written here as a template would, in a third of its time; whatever is not ours is escaped.
"""

from collections.abc import Iterator
from html import escape

from django import template
from django.utils.safestring import SafeString

from leaderboards.board import Row
from leaderboards.scores.deltas import Delta
from leaderboards.shown import ShownCell, ShownRow
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
def numbers(shown: ShownRow, *, baseline: str) -> SafeString:
    """Return the cells of a row's numbers, each with its difference from the baseline if there is one."""
    return SafeString("".join(_cells(shown, with_deltas=bool(baseline))))


def _cells(shown: ShownRow, *, with_deltas: bool) -> Iterator[str]:
    for cell in shown.cells:
        yield (
            f'      <td class="{cell.classes}" data-column="{escape(cell.key)}"'
            f' data-value="{cell.raw}" title="{escape(cell.note)}">\n'
            f'        <span class="ranking-value">{_value(cell, shown.row)}</span>\n'
            f"        {_spread(cell)}\n      </td>\n"
        )
        if with_deltas:
            yield _delta(cell.key, cell.delta)


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
