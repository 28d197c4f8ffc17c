"""Goes on with searches: proposes trials, and when all have ended runs the best again with seeds of its own.

That is done in the transaction in which a trial ends: both are there, or neither. Two workers that
end the last two at once wait for each other at the search's row, and the second sees both.
"""

import logging
from collections.abc import Sequence
from typing import Any

from experiments.lifetime.proposing import proposed
from experiments.lifetime.trials import State, Trial, best_of, trials_of
from experiments.models import Entry, Evaluation, Run, SampleSet, Search
from experiments.submission.beginning import queue_jobs
from jobs.models import Job
from jobs.settled import settled

logger = logging.getLogger(__name__)


@settled()
def go_on(key: int) -> None:
    """Write the next trials of a search, or the entry that runs the best again, if it is time.

    1. Lock the search. 2. If it has its best again, or a trial was cancelled, leave it. 3. Propose
    trials in place of those that ended, while there are to be more. 4. If none goes on, write the
    best's configuration as trial 0, and its runs with fresh seeds.
    """
    locked = Search.objects.select_for_update(of=("self",))
    search = locked.select_related("experiment__dataset", "protocol__dataset").get(pk=key)
    if search.entries.filter(trial=0).exists():
        return
    found = trials_of(search)
    states = [trial.state for trial in found]
    if State.CANCELLED in states or len(found) < search.laid_out:
        return
    going_on = states.count(State.GOING_ON)
    wanted = min(search.laid_out - going_on, search.trials - len(found))
    if wanted > 0:
        _propose(search, found, wanted)
    elif not going_on and (best := best_of(search, found)) is not None:
        entry = _written(search, best.entry, best.entry.config, 0, search.label)
        queue_jobs(entry, search.fresh_seeds)


def _propose(search: Search, found: list[Trial], wanted: int) -> None:
    for number in range(len(found) + 1, len(found) + 1 + wanted):
        config = proposed(search, found, number)
        if config is None:
            logger.warning("search %s: no valid trial %s is found", search.pk, number)
            Search.objects.filter(pk=search.pk).update(trials=len(found))
            return
        label = f"{search.label} trial {number}"
        entry = _written(search, found[0].entry, config, number, label)
        queue_jobs(entry, search.experiment.seeds[: search.runs])
        found = [*found, Trial(entry, State.GOING_ON, None)]


def _written(search: Search, like: Entry, config: dict[str, Any], trial: int, label: str) -> Entry:
    return Entry.objects.create(
        experiment=search.experiment,
        label=label,
        algorithm=like.algorithm,
        config=config,
        samplers=like.samplers,
        position=search.experiment.entries.count(),
        search=search,
        trial=trial,
    )


def follow(sender: type[Job], jobs: Sequence[Job], **kwargs: Any) -> None:
    """Go on with the searches whose trials moved; with each once, whatever moved together."""
    entries = {pk for job in jobs if (pk := _entry_of(job)) is not None}
    tried = Entry.objects.filter(pk__in=entries, trial__gte=1).order_by("search_id")
    for key in list(tried.values_list("search_id", flat=True).distinct()) if entries else []:
        if key is not None:
            go_on(key)


def _entry_of(job: Job) -> int | None:
    if isinstance(job, Evaluation):
        return job.sample_set.entry_id
    return job.entry_id if isinstance(job, Run | SampleSet) else None
