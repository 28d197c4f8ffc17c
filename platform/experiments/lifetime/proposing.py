"""The next trial of a search that learns from those before: by Optuna's tree-structured Parzen estimator.

Source: Bergstra et al., 2011, "Algorithms for hyper-parameter optimization", as Optuna has it, with
trials that go on counted as bad ("constant liar"), so that several at once differ.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from evaluation.protocols.metrics import badness
from experiments.lifetime.trials import State, Trial
from experiments.models import Search
from experiments.submission import spaces
from experiments.submission.plain import read_number
from generators.specs import registry
from generators.specs.options import ConfigError, to_dict

logger = logging.getLogger(__name__)
ATTEMPTS = 20  # at a configuration that is one


def proposed(search: Search, trials: Sequence[Trial], number: int) -> dict[str, Any] | None:
    """Return the whole configuration of the next trial; None where none is found that is valid.

    It is like no other trial where there are others to try. From the same trials the same follows;
    where several workers go on at once, which of them have ended is a matter of time. Where Optuna
    is not installed, as the submission made sure it is, one is drawn at random.
    """
    first = trials[0].entry
    alike: dict[str, Any] | None = None
    tried = [each.chosen for each in trials]
    for chosen in _candidates(search, trials, number):
        config = _valid(search, {**first.config, **chosen}, first.algorithm, number)
        if config is None:
            continue
        if {name: config.get(name) for name in search.options} not in tried:
            return config
        alike = alike or config
    return alike


def _valid(
    search: Search, given: dict[str, Any], algorithm: str, number: int
) -> dict[str, Any] | None:
    try:
        config = registry.parse_config(algorithm, given)
    except ConfigError as error:
        logger.warning("search %s: trial %s is not valid: %s", search.pk, number, error)
        return None
    dataset = search.experiment.dataset
    shape = (dataset.channels, dataset.resolution, dataset.resolution)
    return None if config.shape_problems(shape) else dict(to_dict(config))


def _candidates(search: Search, trials: Sequence[Trial], number: int) -> Iterator[dict[str, Any]]:
    """Yield what Optuna proposes, then what chance does: the first of which are trials, perhaps."""
    try:
        yield _by_optuna(search, trials, number)
    except ImportError:
        logger.warning("search %s: no Optuna here, trial %s is drawn at random", search.pk, number)
    more = list(spaces.trials(search.options, number + ATTEMPTS, search.seed))
    yield from more[number - 1 :]
    yield from more[: number - 1]


def _by_optuna(search: Search, trials: Sequence[Trial], number: int) -> dict[str, Any]:
    optuna = import_module("optuna")  # an optional extra, which no page waits for
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {name: _distribution(optuna, space) for name, space in search.options.items()}
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(
            seed=(search.seed + number) % 2**32,
            n_startup_trials=search.laid_out,
            constant_liar=True,
        ),
    )
    states = optuna.trial.TrialState
    told = {State.SCORED: states.COMPLETE, State.GOING_ON: states.RUNNING}
    spec = search.protocol.metric(search.objective)
    for trial in trials:
        params = _params(search, trial)
        if params is not None:
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions=kinds,
                    state=told.get(trial.state, states.FAIL),
                    value=None if trial.value is None else badness(spec, trial.value),
                )
            )
    drawn = study.ask(kinds).params
    return {name: _rounded(drawn[name], search.options[name]) for name in search.options}


def _distribution(optuna: Any, space: spaces.Space) -> Any:
    if "values" in space:
        return optuna.distributions.CategoricalDistribution(space["values"])
    low, high, is_log = space["low"], space["high"], space["log"]
    if space["whole"]:
        return optuna.distributions.IntDistribution(math.ceil(low), math.floor(high), log=is_log)
    return optuna.distributions.FloatDistribution(float(low), float(high), log=is_log)


def _rounded(value: Any, space: spaces.Space) -> Any:
    if "values" in space or space["whole"]:
        return value
    short = float(f"{value:.{spaces.DIGITS}g}")
    return min(max(short, float(space["low"])), float(space["high"]))


def _params(search: Search, trial: Trial) -> dict[str, Any] | None:
    """Return what was drawn for a trial as its space has it; None where it is not of it."""
    found = {}
    for name, value in trial.chosen.items():
        values = search.options[name].get("values")
        found[name] = value if values is None else _of(values, value)
        if found[name] is None:
            return None
    return found


def _of(values: Sequence[Any], value: Any) -> Any:
    """Return which of some values, as they were given, a configuration's value is."""

    def same(given: Any) -> bool:
        number = read_number(given)
        return str(given).lower() == str(value).lower() or (
            number is not None and number == read_number(value)
        )

    return next((given for given in values if same(given)), None)
