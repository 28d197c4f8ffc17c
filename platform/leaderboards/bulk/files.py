"""A large board as chunks of columns, in its order: the same rows as those of `export.rows`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from experiments.pages import reconstructions
from leaderboards.board import Board, Cell, Column
from leaderboards.bulk.fields import AUTOENCODER_COST, RECONSTRUCTION, fields
from leaderboards.bulk.judgements import judgements
from leaderboards.bulk.numbers import UNKNOWN
from leaderboards.bulk.scored import scored
from leaderboards.bulk.standing import Read, Sets, about, read, sets_of
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import Columns, Field, encoded
from leaderboards.models import Score, Standing
from leaderboards.scores.parts import COST, PART, Large

WHOLE = [Field("details", "json"), Field("judgements", "json")]  # what JSON has besides


def file_of(found: Large, kind: str, choice: Choice) -> tuple[list[Field], Iterator[Columns]]:
    """Return the fields of a board's export in a format, and its rows."""
    names = of_autoencoders(found)
    named = fields(found.board, names, choice)
    chunks = (_chunk(found.board, piece, kind, choice, names) for piece in found.pieces)
    return named + WHOLE * (kind == "jsonl"), chunks


def _chunk(
    board: Board, keys: Sequence[int], kind: str, choice: Choice, names: Sequence[str]
) -> Columns:
    """Return some rows of a board; CSV says of costs that they are unknown, as `told_rows` do."""
    standings = read(keys)
    sets, chosen = sets_of(standings), choice.exported(board)
    wanted = list(dict.fromkeys([*chosen, board.ranked_by]))
    numbers, details = scored(
        standings.pk,
        wanted,
        standings.pending,
        are_all=not choice.is_own,
        has_details=kind == "jsonl",
    )
    by = numbers[board.ranked_by.key]
    values: list[Sequence[Any]] = [by.rank, by.rank_low, by.rank_high, by.leads, by.provisional]
    values += about(standings, board.protocol, sets)
    for column in chosen:
        found = numbers[column.key].columns(column, standings.are_controls, standings.seeds_total)
        if kind == "csv" and column.corner == "cost":
            found[0] = _told(found[0], found[1])
        values += found
    values += _of_autoencoders(board, standings, sets, names)
    if kind != "jsonl":
        return Columns(values)
    values += [_details(standings, chosen, details), judgements(numbers, chosen)]
    return Columns(values, _reconstructions(standings, sets))


def _told(values: Sequence[Any], known: Sequence[Any]) -> Sequence[Any]:
    """Return costs that say so where they are unknown, since a blank is too easily a 0."""
    if not any(word in known for word in UNKNOWN):
        return values
    return ["unknown" if k in UNKNOWN else v for v, k in zip(values, known, strict=True)]


def _details(
    standings: Read, columns: Iterable[Column], found: Mapping[tuple[int, str], str]
) -> list[str]:
    """Return what else is known of the values of each standing, as JSON."""
    keys = [column.key for column in columns]
    names = {key: f'"{key}": ' for key in keys}
    return [
        "{" + ", ".join(names[k] + found[pk, k] for k in keys if (pk, k) in found) + "}"
        for pk in standings.pk
    ]


def of_autoencoders(found: Large) -> list[str]:
    """Return the columns of what autoencoders cost and lose, where any row of the board knows it."""
    keys, protocol = set(found.keys), found.board.protocol
    names = [AUTOENCODER_COST] if _is_any_known(found.board, keys) else []
    shown = Standing.objects.filter(protocol=protocol, of_entry=True).order_by()
    mine = keys & set(shown.values_list("pk", flat=True))
    in_order = [key for key in found.keys if key in mine]
    for begin in range(0, len(in_order), PART):
        sets = sets_of(read(in_order[begin : begin + PART]))
        for each in sets.values():
            names += [f"{RECONSTRUCTION} {name}" for name in reconstructions.means(each, protocol)]
        names = list(dict.fromkeys(names))
    return names


def _is_any_known(board: Board, keys: set[int]) -> bool:
    """Return whether it is known of any standing what its autoencoder cost; looks for the first."""
    scores = Score.objects.filter(
        protocol=board.protocol, metric=COST, standing__of_entry=False
    ).exclude(details=[])
    rows = scores.order_by().values_list("standing_id", "details").iterator()
    return any(_seconds(details) is not None for key, details in rows if key in keys)


def _seconds(details: list[dict[str, Any]]) -> float | None:
    return Cell(None, details=tuple(details)).autoencoder_seconds


def _of_autoencoders(
    board: Board, standings: Read, sets: Sets, names: Sequence[str]
) -> list[list[float | None]]:
    """Return what autoencoders cost, and what they lose, by their names."""
    if not names:
        return []
    scores = Score.objects.filter(standing__in=standings.pk, metric=COST).exclude(details=[])
    costs = dict(scores.order_by().values_list("standing_id", "details"))
    known: list[dict[str, float | None]] = []
    entries = zip(standings.pk, standings.entry, standings.sampler, standings.of_entry, strict=True)
    for key, entry, sampler, of_entry in entries:
        if of_entry:
            lost = reconstructions.means(sets.get((entry, sampler), ()), board.protocol)
            known.append({f"{RECONSTRUCTION} {name}": value for name, value in lost.items()})
        else:
            known.append({AUTOENCODER_COST: _seconds(costs.get(key, []))})
    return [[each.get(name) for each in known] for name in names]


def _reconstructions(standings: Read, sets: Sets) -> dict[int, str]:
    """Return what is known of each reconstruction, by the places of their rows."""
    entries = zip(standings.entry, standings.sampler, standings.of_entry, strict=True)
    return {
        place: '"reconstructions": '
        + encoded([s.reconstruction for s in sets.get((entry, label), ()) if s.reconstruction])
        for place, (entry, label, of_entry) in enumerate(entries)
        if of_entry
    }
