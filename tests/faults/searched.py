"""What a site's database says of a search, for tests that look at it from outside: `tell(pk)`."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any

from experiments.lifetime import proposing
from experiments.lifetime.trials import State, Trial, best_of, trials_of
from experiments.models import Entry, Evaluation, Search
from jobs.models import Job, JobEvent
from leaderboards.ranking import rank
from leaderboards.scores import reading

AT_ONCE = timedelta(seconds=30)  # what ended so shortly before a proposal, it may not have seen


def tell(experiment: int) -> None:
    """Print the trials of an experiment's search as JSON, and what its boards say of them."""
    search = Search.objects.get(experiment=experiment)
    best = best_of(search, trials_of(search))
    facts = {
        "trials": [_trial(search, each) for each in trials_of(search)],
        "again": [_again(each) for each in search.entries.filter(trial=0)],
        "best": None if best is None else best.entry.config,
        "experiment seeds": search.experiment.seeds,
        "doubled": [str(job) for job in search.experiment.jobs() if _completed(job) > 1],
        "unfinished": [str(job) for job in search.experiment.jobs() if not job.is_finished],
        "ranked here": _ranked(rank(search.protocol, experiment=search.experiment).rows),
        "ranked": _ranked(reading.board(search.protocol).rows),
        "on the board": [
            row.entry.trial for row in rank(search.protocol).rows if not row.is_control
        ],
    }
    sys.stdout.write(json.dumps(facts))


def _completed(job: Job) -> int:
    return job.events.filter(kind=JobEvent.Kind.COMPLETED).count()


def _ranked(rows: Sequence[Any]) -> list[int | None]:
    return [
        row.entry.trial
        for row in rows
        if not row.is_control and any(cell.rank is not None for cell in row.cells.values())
    ]


def _again(entry: Entry) -> dict[str, Any]:
    return {"config": entry.config, "seeds": list(entry.runs.values_list("seed", flat=True))}


def _trial(search: Search, trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "chosen": trial.chosen,
        "state": trial.state,
        "value": trial.value,
        "runs": list(trial.entry.runs.values_list("seed", flat=True)),
        "attempts": list(trial.entry.runs.values_list("attempt", flat=True)),
        "learned": _learned(search, trial),
    }


def _learned(search: Search, trial: Trial) -> bool | None:
    """Return whether a trial is what was proposed from those that had ended; None for a first one."""
    if trial.number <= search.laid_out:
        return None
    found = [_chosen(search, seen, trial.number) for seen in _seen(search, trial)]
    return trial.chosen in found


def _chosen(search: Search, seen: Sequence[Trial], number: int) -> dict[str, Any]:
    config = proposing.proposed(search, seen, number) or {}
    return {name: config.get(name) for name in search.options}


def _seen(search: Search, trial: Trial) -> Iterator[list[Trial]]:
    """Yield what a proposal may have known of the trials before: which had ended, at least one."""
    before = [each for each in trials_of(search) if each.number < trial.number]
    begun = min(event.at for run in trial.entry.runs.all() for event in run.events)
    times = {each.number: _ended(search, each) for each in before}
    ended = {number: at for number, at in times.items() if at is not None and at <= begun}
    late = [number for number, at in ended.items() if begun - at < AT_ONCE]
    for left_out in (
        some for size in range(max(1, len(late))) for some in combinations(late, size)
    ):
        known = ended.keys() - set(left_out)
        yield [
            each if each.number in known else replace(each, state=State.GOING_ON, value=None)
            for each in before
        ]


def _ended(search: Search, trial: Trial) -> datetime | None:
    scored = Evaluation.objects.filter(
        sample_set__entry=trial.entry, protocol=search.protocol, finished_at__isnull=False
    )
    return max((each.finished_at for each in scored if each.finished_at), default=None)
