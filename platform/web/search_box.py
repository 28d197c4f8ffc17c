"""Searches of an experiment as its page shows them: the trials, what they drew, which was chosen."""

from dataclasses import dataclass

from experiments.lifetime.trials import State, Trial, best_of, trials_of
from experiments.models import Entry, Experiment, Search
from web.formats import significant


@dataclass(frozen=True)
class ShownTrial:
    trial: Trial
    chosen: tuple[str, ...]  # by the names of the box
    value: str  # "" where it has none
    is_best: bool


@dataclass(frozen=True)
class SearchBox:
    """One search."""

    search: Search
    names: tuple[str, ...]  # of the options
    objective: str
    trials: tuple[ShownTrial, ...]
    again: Entry | None  # the best, run again
    seeds: str  # of that

    @property
    def standing(self) -> str:
        """Return in a sentence how far it is."""
        states = [each.trial.state for each in self.trials]
        ended = len(states) - states.count(State.GOING_ON)
        if self.again is not None:
            return f"Trial {self.best} was the best. It is run again with the fresh seeds {self.seeds}."
        if State.CANCELLED in states:
            return "Trials were cancelled: nothing is chosen unless they are tried again."
        if ended < len(states):
            return f"{ended} of {self.search.trials} trials have ended."
        return "No trial has a value: nothing can be chosen."

    @property
    def best(self) -> int | None:
        return next((each.trial.number for each in self.trials if each.is_best), None)


def boxes(experiment: Experiment) -> list[SearchBox]:
    """Return the searches of an experiment; one query where it has none."""
    found = experiment.searches.select_related("protocol__dataset", "experiment")
    return [_box(search) for search in found]


def _box(search: Search) -> SearchBox:
    trials, again = trials_of(search), search.entries.filter(trial=0).first()
    best = best_of(search, trials)
    if again is not None:  # what was the best when all had ended
        best = next((each for each in trials if each.entry.config == again.config), None)
    names = tuple(search.options)
    return SearchBox(
        search=search,
        names=names,
        objective=search.protocol.metric_label(search.objective),
        trials=tuple(_shown(each, names, each is best) for each in trials),
        again=again,
        seeds=", ".join(map(str, search.fresh_seeds)),
    )


def _shown(trial: Trial, names: tuple[str, ...], is_best: bool) -> ShownTrial:
    value = "" if trial.value is None else significant(trial.value)
    return ShownTrial(trial, tuple(str(trial.chosen[name]) for name in names), value, is_best)
