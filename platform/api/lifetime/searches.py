"""Bodies of searches: where each stands, what its trials drew and came to, which was chosen."""

from typing import Any

from rest_framework import serializers

from experiments.lifetime.standing import SearchStanding
from experiments.lifetime.trials import State, Trial
from experiments.searches.models import Search


class TrialSerializer(serializers.Serializer[Any]):
    """One configuration that was tried."""

    number = serializers.IntegerField(help_text="from 1")
    entry = serializers.IntegerField(help_text="id; it stands on its experiment's board alone")
    label = serializers.CharField()  # type: ignore[assignment]  # a field of the data
    chosen = serializers.DictField(help_text="what was drawn for each option")
    state = serializers.ChoiceField(choices=[each.value for each in State])
    value = serializers.FloatField(
        allow_null=True, help_text="of the objective, the mean over its runs; null without one"
    )


class SearchSerializer(serializers.Serializer[Any]):
    """An entry whose options are looked for; the best of its trials is run again, and ranks."""

    id = serializers.IntegerField()
    label = serializers.CharField(help_text="of the entry that is run again")  # type: ignore[assignment]  # a field of the data
    protocol = serializers.CharField(help_text="fingerprint of what measures the objective")
    objective = serializers.CharField(help_text="key of a metric")
    objective_label = serializers.CharField()
    method = serializers.ChoiceField(choices=Search.Method.choices)
    how = serializers.CharField(help_text="how trials are found, in words")
    options = serializers.DictField(help_text="where values are from, as they were given")
    trials = serializers.IntegerField(help_text="how many there are to be")
    runs = serializers.IntegerField(help_text="trainings of each trial")
    seed = serializers.IntegerField(help_text="of the choice of values")
    fresh_seeds = serializers.ListField(
        child=serializers.IntegerField(), help_text="with which the best is run again"
    )
    standing = serializers.CharField(help_text="how far it is, in a sentence")
    best = serializers.IntegerField(
        allow_null=True, help_text="number of the best trial so far; null without a value"
    )
    winner = serializers.IntegerField(
        allow_null=True, help_text="id of the entry that runs the best again; null until all ended"
    )
    note = serializers.CharField(help_text="what boards say of the winner")
    tried = TrialSerializer(many=True, help_text="by their numbers")


def body_of(found: SearchStanding) -> dict[str, Any]:
    search = found.search
    return {
        "id": search.pk,
        "label": search.label,
        "protocol": search.protocol.fingerprint,
        "objective": search.objective,
        "objective_label": found.objective,
        "method": search.method,
        "how": search.words,
        "options": search.given,
        "trials": search.trials,
        "runs": search.runs,
        "seed": search.seed,
        "fresh_seeds": search.fresh_seeds,
        "standing": found.words,
        "best": None if found.best is None else found.best.number,
        "winner": None if found.again is None else found.again.pk,
        "note": search.about,
        "tried": [_trial(each) for each in found.trials],
    }


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "entry": trial.entry.pk,
        "label": trial.entry.label,
        "chosen": trial.chosen,
        "state": trial.state.value,
        "value": trial.value,
    }
