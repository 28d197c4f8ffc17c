"""What is compared: two to ten entries, each with one of its samplers, of any experiments."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from experiments.models import Entry, Run, SampleSet

LEAST, MOST = 2, 10  # sides of a comparison
KEYS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")
WITH_SAMPLER = re.compile(r"([0-9]{1,18}):(.{1,100})")
HOW = f"Tick {LEAST} to {MOST} rows of a board or of an experiment."


class CompareError(ValueError):
    """Why entries cannot be compared, as a sentence; `name` is that of the parameter."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


@dataclass(frozen=True)
class Side:
    """One entry with one sampler: a column of everything that a comparison shows."""

    entry: Entry
    sampler_label: str  # "" where nothing is sampled yet and nobody knows how
    others: tuple[str, ...]  # other samplers of the entry, in its order
    runs: tuple[Run, ...]  # of the entry
    sets: tuple[SampleSet, ...]  # drawn with the sampler

    @property
    def key(self) -> str:
        """Return what stands for it in an address: `12`, or `12:DDIM 50` where 12 has several."""
        return key_of(self.entry.pk, self.sampler_label, several=bool(self.others))

    @property
    def sampler(self) -> str:
        """Return the sampler where it tells something: not of a control, nor of the only way."""
        told = self.others or self.sampler_label != "direct"
        return self.sampler_label if told and self.entry.algorithm else ""

    @property
    def name(self) -> str:
        return f"{self.entry.label}, {self.sampler}" if self.sampler else self.entry.label

    def set_of(self, seed: int) -> SampleSet | None:
        """Return what was drawn at a training seed; where nothing was, the first that was drawn."""
        drawn = [each for each in self.sets if each.sha256]
        mine = (each for each in drawn if seed_of(each) == seed)
        return next(mine, next(iter(drawn), None))


def key_of(entry: int, sampler_label: str, *, several: bool) -> str:
    return f"{entry}:{sampler_label}" if several else str(entry)


def seed_of(sample_set: SampleSet) -> int:
    """Return the training seed of a sample set, or which of an entry's sets without runs it is."""
    return sample_set.run.seed if sample_set.run else sample_set.seed


@dataclass(frozen=True)
class Comparison:
    """The sides in the order in which they were asked for, and which of them is the baseline."""

    sides: tuple[Side, ...]
    baseline: Side

    @property
    def others(self) -> tuple[Side, ...]:
        return tuple(side for side in self.sides if side is not self.baseline)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Return the entries, each once: sides may differ by the sampler alone."""
        return tuple({side.entry.pk: side.entry for side in self.sides}.values())

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Return the entries' runs, each once."""
        return tuple({run.pk: run for side in self.sides for run in side.runs}.values())

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return what asks for the comparison in an address."""
        chosen = [("entries", side.key) for side in self.sides]
        is_first = self.baseline is self.sides[0]
        return chosen if is_first else [*chosen, ("baseline", self.baseline.key)]


def read(entries: Sequence[str], baseline: str = "") -> Comparison:
    """Return what is asked for: keys of entries, `12` or `12:DDIM 50`; several as `12,13`.

    A key without a sampler stands for the entry's first. The baseline is one of the keys, by
    default the first.

    Raises:
        CompareError: with what was expected and what came.
    """
    asked = list(dict.fromkeys(_asked(entries)))
    _check_number(len(asked))
    sides = tuple({side.key: side for side in _sides(asked)}.values())
    _check_number(len(sides))
    return Comparison(sides, _baseline(sides, baseline) if baseline else sides[0])


def _asked(values: Iterable[str]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for value in filter(None, values):
        if KEYS.fullmatch(value):
            found += [(int(key), "") for key in value.split(",")]
        elif match := WITH_SAMPLER.fullmatch(value):
            found.append((int(match[1]), match[2]))
        else:
            said = f"expected ids of entries (12, or 12:SAMPLER), got {value[:60]!r}."
            raise CompareError("entries", f"{said} {HOW}")
    return found


def _check_number(number: int) -> None:
    if not LEAST <= number <= MOST:
        said = {0: "none was", 1: "only one was"}.get(number, f"{number} were")
        message = f"A comparison takes {LEAST} to {MOST} entries; {said} chosen. {HOW}"
        raise CompareError("entries", message)


def _sides(asked: Sequence[tuple[int, str]]) -> Iterable[Side]:
    keys = {key for key, _ in asked}
    entries = Entry.objects.select_related("experiment__dataset").in_bulk(keys)
    if missing := sorted(keys - entries.keys()):
        several = "are no entries with the ids" if len(missing) > 1 else "is no entry with the id"
        raise CompareError("entries", f"There {several} {', '.join(map(str, missing))} (any more).")
    runs: dict[int, list[Run]] = defaultdict(list)
    sets: dict[int, list[SampleSet]] = defaultdict(list)
    for run in Run.objects.filter(entry__in=keys):
        runs[run.entry_id].append(run)
    drawn = SampleSet.objects.filter(entry__in=keys).select_related("run", "worker")
    for each in drawn.order_by("seed", "run__seed", "pk"):
        sets[each.entry_id].append(each)
    for key, label in asked:
        yield _side(entries[key], label, runs[key], sets[key])


def _side(entry: Entry, label: str, runs: list[Run], sets: list[SampleSet]) -> Side:
    known = list(dict.fromkeys([*entry.sampler_labels, *(each.sampler_label for each in sets)]))
    if known and label and label not in known:
        said = f"expected one of {', '.join(known)}"
        message = f"Entry {entry.pk}, {entry.label}, has no sampler {label!r}: {said}."
        raise CompareError("entries", message)
    label = label if label in known else next(iter(known), "")  # boards call what has none so
    return Side(
        entry=entry,
        sampler_label=label,
        others=tuple(each for each in known if each != label),
        runs=tuple(runs),
        sets=tuple(each for each in sets if each.sampler_label == label),
    )


def _baseline(sides: Sequence[Side], wanted: str) -> Side:
    named = next((side for side in sides if side.key == wanted), None)
    named = named or next((side for side in sides if str(side.entry.pk) == wanted), None)
    if named is None:
        keys = ", ".join(side.key for side in sides)
        message = f"The baseline is one of the entries ({keys}); got {wanted[:60]!r}."
        raise CompareError("baseline", message)
    return named
