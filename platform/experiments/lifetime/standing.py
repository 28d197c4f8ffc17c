"""Where the searches of an experiment stand: their trials, which was the best, what runs it again."""

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.lifetime.trials import State, Trial, best_of, trials_of
from experiments.models import Entry, Experiment, Search


@dataclass(frozen=True)
class SearchStanding:
    """One search: `again` is the entry that runs the best again, None until all trials have ended."""

    search: Search
    trials: tuple[Trial, ...]
    best: Trial | None  # so far
    again: Entry | None

    @property
    def objective(self) -> str:
        """Return the metric by which the best is chosen, as boards write it."""
        return str(self.search.protocol.metric_label(self.search.objective))

    @property
    def words(self) -> str:
        """Return in a sentence how far it is."""
        states = [trial.state for trial in self.trials]
        ended = len(states) - states.count(State.GOING_ON)
        if self.again is not None:
            seeds = ", ".join(map(str, self.search.fresh_seeds))
            number = self.best.number if self.best else "–"
            return f"Trial {number} was the best. It is run again with the fresh seeds {seeds}."
        if State.CANCELLED in states:
            return "Trials were cancelled: nothing is chosen unless they are tried again."
        if ended < len(states):
            return f"{ended} of {self.search.trials} trials have ended."
        return "No trial has a value: nothing can be chosen."


def standings(experiment: Experiment) -> Iterator[SearchStanding]:
    """Yield the searches of an experiment; one query where it has none."""
    for search in experiment.searches.select_related("protocol__dataset", "experiment"):
        yield _standing(search)


def _standing(search: Search) -> SearchStanding:
    trials, again = trials_of(search), search.entries.filter(trial=0).first()
    best = best_of(search, trials)
    if again is not None:  # what was the best when all had ended
        best = next((each for each in trials if each.entry.config == again.config), None)
    return SearchStanding(search, tuple(trials), best, again)
