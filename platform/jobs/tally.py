"""How often jobs came to each state, and how long they took: timelines grow, so they are counted once."""

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from jobs.models import FINISHED, Job, JobEvent, Tally

BOUNDS = (1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)  # seconds
SETTLED = timedelta(minutes=5)  # no transaction takes longer: no earlier line is still to come
MANY = 1000  # lines that are read again and again before they are counted for good
BATCH = 50_000  # lines that are counted in one transaction
BETWEEN = (JobEvent.Kind.CHECKPOINT, JobEvent.Kind.CANCELLING)  # a claim and the end

Key = tuple[str, str]  # kind of job, kind of line


@dataclass
class Durations:
    """How long jobs took that ended alike."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))  # by the bound
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


@dataclass
class Counts:
    """Lines of timelines by kind, and the time from the last claim of a job to each of its ends."""

    lines: Counter[Key] = field(default_factory=Counter)
    durations: dict[Key, Durations] = field(default_factory=lambda: defaultdict(Durations))

    def add(self, lines: QuerySet[JobEvent]) -> None:
        """Count lines."""
        # Not grouped by the database: SQLite would read all lines there ever were, in the order of
        # an index by kinds, rather than the last ones.
        self.lines.update(lines.order_by().values_list("job_type", "kind").iterator())
        for job, kind, at, before, begin in _ends(lines):
            if before == JobEvent.Kind.CLAIMED:
                self.durations[job, kind].add((at - begin).total_seconds())

    def to_record(self) -> dict[str, Any]:
        return {
            "lines": [[*key, number] for key, number in self.lines.items()],
            "durations": [[*key, d.counts, d.seconds] for key, d in self.durations.items()],
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Counts":
        found = cls()
        found.lines.update({(job, kind): n for job, kind, n in record.get("lines", [])})
        for job, kind, counts, seconds in record.get("durations", []):
            found.durations[job, kind] = Durations(counts, seconds)
        return found


def _ends(lines: QuerySet[JobEvent]) -> Any:
    """Return the ends among lines, each with what its job did last before it, and when."""
    same = JobEvent.objects.filter(job_type=OuterRef("job_type"), job_id=OuterRef("job_id"))
    before = same.filter(pk__lt=OuterRef("pk")).exclude(kind__in=BETWEEN).order_by("-pk")
    ends = lines.filter(kind__in=FINISHED).order_by("pk").values_list("job_type", "kind", "at")
    return ends.annotate(
        before=Subquery(before.values("kind")[:1]), begin=Subquery(before.values("at")[:1])
    ).iterator()


def counted() -> Counts:
    """Return the counts of all lines there ever were.

    1. Count for good what is settled, where that is much. 2. Add the lines that came since.
    """
    settled, tally = _settled(), _kept()
    while settled - tally.up_to > MANY:
        tally = _count_on(settled)
    found = Counts.from_record(tally.counts)
    found.add(JobEvent.objects.filter(pk__gt=tally.up_to))
    return found


def settle() -> None:
    """Count the next settled lines for good, where they are many: once in each beat of a worker."""
    if (settled := _settled()) - _kept().up_to > MANY:
        _count_on(settled)


def _settled() -> int:
    """Return the key of the last line that no earlier one can follow any more."""
    old = JobEvent.objects.filter(at__lt=Now() - SETTLED)
    return old.order_by("-pk").values_list("pk", flat=True).first() or 0


def _kept() -> Tally:
    return next(iter(Tally.objects.filter(pk=1)), Tally())


def number_there(kind: str = "") -> int:
    """Return how many lines there are now of jobs that keep their timelines, of one kind or all.

    Those that are counted for good are not counted again, but for what `delete` took away.
    """
    tally, brief = _kept(), {job.type_name() for job in Job.kinds() if not job.keeps_timeline}
    counted: Counter[Key] = Counter(Counts.from_record(tally.counts).lines)
    counted.subtract({(job, of): number for job, of, number in tally.removed})
    settled = sum(
        number for (job, of), number in counted.items() if job not in brief and kind in ("", of)
    )
    later = JobEvent.objects.order_by()
    later = later.filter(pk__gt=tally.up_to) if tally.up_to else later
    # Those of `brief` apart, which are few: so are all of a kind counted by an index alone.
    few = later.filter(job_type__in=brief).values_list("kind").annotate(number=Count("pk"))
    without = sum(number for of, number in few if kind in ("", of))
    asked = later.filter(kind=kind) if kind else later
    return int(settled + asked.count() - without)


@transaction.atomic
def delete(lines: QuerySet[JobEvent]) -> None:
    """Delete lines of jobs that keep their timelines; `counted` goes on to tell of them."""
    tally, _ = Tally.objects.select_for_update().get_or_create(pk=1)
    removed: Counter[Key] = Counter({(job, of): number for job, of, number in tally.removed})
    gone = lines.filter(pk__lte=tally.up_to).order_by().values_list("job_type", "kind")
    for job, of, number in gone.annotate(number=Count("pk")):
        removed[job, of] += number
    tally.removed = [[*key, number] for key, number in removed.items()]
    tally.save()
    lines.delete()


@transaction.atomic
def _count_on(settled: int) -> Tally:
    """Count the next lines for good, and return what is known then."""
    tally, _ = Tally.objects.select_for_update().get_or_create(pk=1)
    until = min(settled, tally.up_to + BATCH)
    if until > tally.up_to:
        found = Counts.from_record(tally.counts)
        found.add(JobEvent.objects.filter(pk__gt=tally.up_to, pk__lte=until))
        tally.up_to, tally.counts = until, found.to_record()
        tally.save()
    return tally
