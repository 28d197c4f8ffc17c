"""A large board as chunks of columns, in its order: the same rows as those of `export.rows`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.pages import reconstructions
from leaderboards.board import Board, Cell, Column
from leaderboards.bulk.fields import AUTOENCODER_COST, RECONSTRUCTION, fields
from leaderboards.bulk.judgements import judgements
from leaderboards.bulk.numbers import UNKNOWN, Numbers
from leaderboards.bulk.scored import scored
from leaderboards.bulk.standing import Read, Repeats, Sets, about, read, sets_of
from leaderboards.facts.choice import Choice
from leaderboards.formats.rows import Columns, Field, encoded
from leaderboards.models import Score, Standing
from leaderboards.scores.parts import COST, PART, Large

WHOLE = [Field("details", "json"), Field("judgements", "json")]  # what JSON has besides


@dataclass(frozen=True)
class BoardFile:
    """A large board as it is exported in one format: its columns, and its rows by columns."""

    found: Large
    kind: str
    choice: Choice
    of_autoencoders: Sequence[str]

    @property
    def fields(self) -> list[Field]:
        named = fields(self.found.board, self.of_autoencoders, self.choice)
        return named + WHOLE * (self.kind == "jsonl")

    def chunks(self) -> Iterator[Columns]:
        repeats = Repeats(self.found.board.protocol)
        for keys in self.found.pieces:
            standings = read(keys)
            yield (
                self._chunk(standings, repeats)
                if standings.pk
                else Columns([()] * len(self.fields))
            )

    def _chunk(self, standings: Read, repeats: Repeats) -> Columns:
        board, is_whole = self.found.board, self.kind == "jsonl"
        sets, chosen = sets_of(standings), self.choice.exported(board)
        wanted = list(dict.fromkeys([*chosen, board.ranked_by]))
        are_all = not self.choice.is_own
        numbers, details = scored(
            standings.pk, wanted, standings.pending, are_all=are_all, has_details=is_whole
        )
        by = numbers[board.ranked_by.key]
        values: list[Sequence[Any]] = [by.rank, by.rank_low, by.rank_high, by.leads, by.provisional]
        values += about(standings, repeats, sets)
        for column in chosen:
            values += self._told(column, numbers[column.key], standings)
        values += _of_autoencoders(board, standings, sets, self.of_autoencoders)
        if not is_whole:
            return Columns(values)
        values += [_details(standings, chosen, details), judgements(numbers, chosen)]
        return Columns(values, _reconstructions(standings, sets))

    def _told(self, column: Column, numbers: Numbers, standings: Read) -> list[Sequence[Any]]:
        """Return a column's numbers; CSV says of unknown costs that they are, as `told_rows` do."""
        told = numbers.columns(column, standings.are_controls, standings.seeds_total)
        if self.kind == "csv" and column.corner == "cost":
            told[0] = _unless_unknown(told[0], told[1])
        return told


def file_of(found: Large, kind: str, choice: Choice) -> BoardFile:
    """Return a board as it is exported in a format."""
    return BoardFile(found, kind, choice, of_autoencoders(found))


def _unless_unknown(values: Sequence[Any], known: Sequence[Any]) -> Sequence[Any]:
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
