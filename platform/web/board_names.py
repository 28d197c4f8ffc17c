"""What stands before the numbers of a board's row, as HTML: its rank, name, origin and seeds."""

from collections.abc import Iterator
from html import escape

from django.urls import reverse

from experiments.models import Entry
from leaderboards.board import Row
from leaderboards.shown import ShownRow

ALIKE = "One configuration with seeds in common, so no independent evidence: "


def heading(words: str, width: int) -> str:
    """Return the row before those of a budget."""
    said = escape(words[:1].upper() + words[1:])
    return (
        '<tr class="ranking-budget"><th scope="rowgroup" class="ranking-aside"'
        f' colspan="{width}"><span>{said}: ranked among themselves</span></th></tr>\n'
    )


def begin(shown: ShownRow, *, of_all: bool, tells_kind: bool) -> str:
    """Return a row up to its numbers; `of_all` experiments, `tells_kind` of what was trained here."""
    row = shown.row
    entry, is_control = row.entry, row.is_control
    label, sampler = escape(entry.label), escape(row.sampler_label)
    control = f' data-control="{escape(row.control)}"' if is_control else ""
    return (
        f'<tr class="{"ranking-control" if is_control else ""}" data-entry="{label}"'
        f' data-sampler="{sampler}" data-experiment="{escape(row.experiment.name)}"'
        f' data-kind="{entry.kind}"{control}>'
        f'<th scope="row" class="ranking-entry"><span class="ranking-label">{_place(shown)}\n'
        f'<span class="ranking-name">{_title(row)}\n'
        f'<span class="ranking-about">{_about(shown, of_all=of_all, tells_kind=tells_kind)}</span>'
        f"{''.join(_below(shown))}</span></span></th>\n{_seeds(row)}\n"
    )


def _place(shown: ShownRow) -> str:
    row = shown.row
    label, sampler = escape(row.entry.label), escape(row.sampler_label)
    rank, named = escape(shown.rank) or "–", f"{label}, {sampler}"
    if row.is_control:
        rank, named = '<span class="visually-hidden">control, not ranked</span>', label
    return (
        f'<span class="ranking-place">{rank}<input class="tick" type="checkbox" name="entries"'
        f' value="{row.entry.pk}:{sampler}" form="compare-form" aria-label="Compare {named}"'
        ' title="Tick two to ten rows to compare them"></span>'
    )


def _title(row: Row) -> str:
    control = row.entry.control
    about = f' title="{escape(control.help)}"' if control else ""
    name = f'<span class="ranking-title"{about}><b>{escape(row.entry.label)}</b>'
    if control or row.sampler_label == "direct" or row.entry.kind == Entry.Kind.EXTERNAL:
        return f"{name}</span>"
    return f'{name} <span class="muted">{escape(row.sampler_label)}</span></span>'


def family(entry: Entry) -> str:
    """Return an entry's family with its colour."""
    about = f' title="{escape(said)}"' if (said := entry.family_description) else ""
    label = escape(str(entry.family_label))
    return f'<span class="family family-{escape(entry.family)}"{about}>{label}</span>'


def _about(shown: ShownRow, *, of_all: bool, tells_kind: bool) -> str:
    """Return the line below the name: family, kind, findings, experiment, what compares with it."""
    row = shown.row
    parts = [family(row.entry)]
    if row.is_control and not row.is_of_experiment:
        parts.append(escape(row.sampler_label))
    elif tells_kind and row.entry.algorithm:
        parts.append(f'<span class="ranking-kind">{escape(str(row.kind).lower())}</span>')
    parts += _links(row, of_all=of_all)
    if not row.is_aside:
        parts.append(_pin(shown))
    return " ".join(parts)


def _links(row: Row, *, of_all: bool) -> Iterator[str]:
    """Yield links to an experiment's page: to what was found in handed-in sets, and to its top."""
    findings, of_it = row.findings, of_all and row.is_of_experiment
    if not (findings or of_it):
        return
    page = reverse("experiment", args=[row.entry.experiment_id])
    if count := len(findings):
        yield (
            f'<a class="ranking-kind" href="{page}#entry-{row.entry.pk}"'
            f' title="{escape("; ".join(findings))}">{count} finding{_s(count)}</a>'
        )
    if of_it:
        name = escape(row.experiment.name)
        yield f'<a class="ranking-experiment" href="{page}" title="{name}">{name}</a>'


def _pin(shown: ShownRow) -> str:
    if not shown.pin:
        return '<span class="ranking-pinned">baseline</span>'
    return (
        f'<a class="ranking-pin" href="{escape(shown.pin)}" title="Compare all rows with this one."'
        f' aria-label="Compare all rows with {escape(shown.row.entry.label)}">Δ</a>'
    )


def _below(shown: ShownRow) -> Iterator[str]:
    """Yield the smaller lines: its search, what it repeats, what its autoencoder loses."""
    row = shown.row
    if chosen_by := row.chosen_by:
        yield f'<span class="ranking-lost">{escape(chosen_by)}</span>'
    if row.same_as:
        yield (
            f'<span class="ranking-lost" title="{ALIKE}{escape(row.repeats)}">'
            f"same as {row.repeated} other{_s(len(row.same_as))}</span>"
        )
    if row.is_control and row.is_of_experiment:
        lost = f": {escape(shown.lost)}" if shown.lost else ""
        yield f'<span class="ranking-lost">{escape(row.sampler_label)}{lost}</span>'


def _seeds(row: Row) -> str:
    scored, total, failed, pending = (
        *(row.seeds_scored, row.seeds_total),
        *(row.seeds_failed, row.seeds_pending),
    )
    told = f"{scored} of {total} seeds scored"
    text = f"{scored}/{total}"
    if failed:
        told += f", {failed} failed or cancelled"
        text += f' <span class="ranking-failed">{failed} lost</span>'
    if pending:
        told += f", {pending} still to come: its ranks are provisional"
    if pending and scored:
        text += f' <span class="ranking-pending">{pending} to come</span>'
    return f'<td class="ranking-seeds" title="{told}">{text}</td>'


def _s(count: int) -> str:
    return "" if count == 1 else "s"
