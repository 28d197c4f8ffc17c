"""Searches of an experiment as its page shows them: the trials, what they drew, which was chosen."""

from dataclasses import dataclass

from experiments.lifetime.standing import SearchStanding, standings
from experiments.lifetime.trials import Trial
from experiments.models import Experiment
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

    standing: SearchStanding
    names: tuple[str, ...]  # of the options
    trials: tuple[ShownTrial, ...]


def boxes(experiment: Experiment) -> list[SearchBox]:
    """Return the searches of an experiment; one query where it has none."""
    return [_box(standing) for standing in standings(experiment)]


def _box(standing: SearchStanding) -> SearchBox:
    names = tuple(standing.search.options)
    shown = (_shown(each, names, each is standing.best) for each in standing.trials)
    return SearchBox(standing, names, tuple(shown))


def _shown(trial: Trial, names: tuple[str, ...], is_best: bool) -> ShownTrial:
    value = "" if trial.value is None else significant(trial.value)
    return ShownTrial(trial, tuple(str(trial.chosen[name]) for name in names), value, is_best)
