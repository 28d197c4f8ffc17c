"""Entries whose options are looked for: trials, the best of them, and that it is run again."""

import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from statistics import fmean
from typing import Any

import pytest
from django.apps import apps
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from experiments import controls, services
from experiments.comparison import ExperimentJobs
from experiments.lifetime import expected, proposing, searching
from experiments.lifetime.trials import State, trials_of
from experiments.models import Entry, Evaluation, Experiment, Run, SampleSet, Search
from experiments.progress import jobs_needed
from experiments.services import submit_data, submit_once
from experiments.submission.record import record_of
from experiments.submission.spaces import read_space, trials
from experiments.submission.specification import SpecificationError
from generators.specs.options import FieldSpec
from jobs import lifecycle
from jobs.models import Status
from leaderboards import export
from leaderboards.board import Row, columns_of
from leaderboards.models import Standing
from leaderboards.ranking import rank
from leaderboards.rows import rows_of
from leaderboards.scores import keeping, reading
from tests import factories
from tests.static import static_root
from tests.web.html import get
from web.submit.draft import to_data, typed
from web.submit.filling import draft_of

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db
WHOLE = FieldSpec("latent_dim", "int", 8, "")
OPTIONS = {"learning_rate": "1e-4..1e-2 log", "latent_dim": "8..64"}


def looked_for(**changes: Any) -> dict[str, Any]:
    search = {"options": OPTIONS, "objective": "fd", "trials": 3, "seed": 5, **changes}
    return {"algorithm": "vae.conv", "label": "tuned", "preset": "tiny", "search": search}


def submission(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    given = [*(entries or (looked_for(),)), {"algorithm": "gan.sngan"}]
    return factories.experiment_data(protocol=protocol, entries=given, seeds=2, **changes)


def submitted(*entries: dict[str, Any]) -> Search:
    submit_data(submission(*entries), user=None)
    return Search.objects.get()


def end(entry: Entry, fd: float | None) -> None:
    """Let all of a trial's work be done, the last of it by the way that workers take."""
    for run in entry.runs.all():
        made = factories.make_run(entry=entry, seed=run.seed, status=Status.COMPLETED)
        drawn = factories.make_sample_set(run=made)
        evaluation, _ = Evaluation.objects.get_or_create(
            sample_set=drawn, protocol=entry.experiment.protocols.get()
        )
        worker = factories.make_worker()
        claimed = lifecycle.claim(Evaluation, evaluation.pk, worker)
        assert claimed is not None
        value = {"value": fd, "reason": "" if fd is not None else "not defined here"}
        services.finish_evaluation(claimed, {"fd": value, "recall": {"value": 0.5}})


def tried(search: Search) -> list[Entry]:
    return list(search.entries.filter(trial__gte=1).order_by("trial"))


def test_a_trial_draws_the_same_whatever_others_there_are() -> None:
    spaces = {"a": read_space("1e-4..1e-2 log", None), "b": read_space("8..64", WHOLE)}

    few, many = list(trials(spaces, 3, seed=1)), list(trials(spaces, 200, seed=1))

    assert many[:3] == few != list(trials(spaces, 3, seed=2))
    assert all(1e-4 <= each["a"] <= 1e-2 for each in many)
    below = sum(each["a"] < 1e-3 for each in many)
    assert 70 < below < 130  # half of the chances are below the middle of the factors
    assert {type(each["b"]) for each in many} == {int}
    assert min(each["b"] for each in many) < 12 and max(each["b"] for each in many) > 60


def test_no_two_trials_are_alike_while_there_are_others() -> None:
    spaces = {"a": read_space([1, 2], None), "b": read_space("1..4", WHOLE)}

    found = {tuple(each.items()) for each in trials(spaces, 8, seed=0)}

    assert len(found) == 8


def test_each_trial_is_an_entry_with_the_first_seeds_of_the_experiment() -> None:
    search = submitted()

    entries = tried(search)
    assert [entry.label for entry in entries] == [f"tuned trial {k}" for k in (1, 2, 3)]
    assert len({entry.config["learning_rate"] for entry in entries}) == 3
    assert all(8 <= entry.config["latent_dim"] <= 64 for entry in entries)
    assert [run.seed for entry in entries for run in entry.runs.all()] == [0, 0, 0]
    experiment = search.experiment
    # 3 trials of one run, the best of two, the GAN of two; each a run, a set and an evaluation; 4 controls
    controls = experiment.entries.filter(kind=Entry.Kind.CONTROL)
    reconstructed = [c for c in controls if c.source]
    assert jobs_needed(experiment) == 3 * (3 + 2 + 2) + 2 * (len(controls) - len(reconstructed))


@pytest.mark.parametrize(
    ("changes", "path", "said"),
    [
        ({"options": {}}, "search.options", "expected option: range pairs"),
        ({"options": {"betta": "1..2"}}, "search.options.betta", "unknown"),
        ({"options": {"beta": "2..1"}}, "search.options.beta", "the smaller number first"),
        ({"options": {"beta": "0..1 log"}}, "search.options.beta", "above 0"),
        ({"options": {"beta": "-9..-1"}}, "search.options.beta", "expected a number in"),
        ({"options": {"latent_dim": [8, 16]}}, "search.trials", "2 combinations"),
        ({"trials": 1}, "search.trials", "of 2 to 49"),
        ({"trials": None}, "search.trials", "of 2 to 49"),
        ({"objective": "beauty"}, "search.objective", "expected a metric of the protocols"),
        ({"method": "grid"}, "search.method", "expected one of random, tpe"),
        ({"runs": 3}, "search.runs", "expected at most 2"),
        ({"budget": 3}, "search.budget", "unknown"),
    ],
)
def test_what_is_wrong_with_a_search_is_said_at_it(
    changes: dict[str, Any], path: str, said: str
) -> None:
    with pytest.raises(SpecificationError) as caught:
        submit_data(submission(looked_for(**changes)), user=None)

    [(where, message)] = caught.value.errors.items()
    assert where == f"entries.0.{path}" and said in message
    assert not Experiment.objects.exists()


def test_the_best_is_run_again_with_seeds_that_no_trial_had() -> None:
    search = submitted()
    one, two, three = tried(search)

    end(two, 3.0)
    end(one, 5.0)
    assert not search.entries.filter(trial=0).exists()
    end(three, 4.0)

    again = search.entries.get(trial=0)
    assert (again.label, again.config) == ("tuned", two.config)
    assert [(run.seed, run.status) for run in again.runs.all()] == [(2, "queued"), (3, "queued")]
    searching.go_on(search.pk)  # as often as it is asked
    assert search.entries.count() == 4


def test_what_is_left_counts_the_trainings_of_trials_and_says_that_others_are_to_come() -> None:
    search = submitted()
    experiment = search.experiment
    jobs = ExperimentJobs.of(experiment)
    controls_drawn = experiment.entries.filter(kind=Entry.Kind.CONTROL).count()

    assert expected.sets_in_all(jobs) == 3 * 1 + 2 + controls_drawn  # of two seeds trials have one
    assert "trials to come" in expected.of_experiment(experiment, jobs, []).unknown

    for entry in tried(search):
        end(entry, 1.0)
    after = expected.of_experiment(experiment, ExperimentJobs.of(experiment), [])
    assert "trials to come" not in after.unknown


def test_a_lost_trial_is_not_chosen_and_does_not_hold_others_up() -> None:
    search = submitted()
    one, two, three = tried(search)
    end(one, 5.0)
    end(two, None)
    run = lifecycle.claim(Run, three.runs.get().pk, factories.make_worker())
    assert run is not None

    lifecycle.fail(run, "diverged")

    assert search.entries.get(trial=0).config == one.config
    assert [t.state for t in trials_of(search)] == [State.SCORED, State.LOST, State.LOST]


def test_nothing_is_chosen_of_a_cancelled_search_until_it_is_tried_again() -> None:
    search = submitted()
    one, two, three = tried(search)
    end(one, 5.0)
    end(two, 4.0)

    services.cancel_experiment(search.experiment, user=None)
    assert not search.entries.filter(trial=0).exists()

    services.retry_job(three.runs.get(), user=None)
    end(three, 6.0)
    assert search.entries.get(trial=0).config == two.config


def test_trials_stand_on_the_board_of_their_experiment_alone_and_have_no_rank(
    client: Client, static_root: None
) -> None:
    search = submitted()
    for entry, fd in zip(tried(search), (0.5, 0.6, 0.7), strict=True):
        end(entry, fd)
    again = search.entries.get(trial=0)
    end(again, 2.0)
    protocol = search.protocol

    page = get(client, f"/experiments/{search.experiment.pk}/")
    assert "Trial 1 was the best. It is run again with the fresh seeds 2, 3." in page.text
    assert "chosen by search of 3 trials" in page.text
    for found in (rank(protocol), reading.board(protocol)):
        assert [row.entry.trial for row in found.rows if not row.is_control] == [0, None]
    for found in (
        rank(protocol, experiment=search.experiment),
        reading.board(protocol, experiment=search.experiment),
    ):
        rows = {row.entry.trial: row for row in found.rows if not row.is_control}
        assert all(rows[k].cells["fd"].rank is None for k in (1, 2, 3))
        assert rows[0].cells["fd"].rank == 1
        assert (
            rows[0].chosen_by == f"chosen by search of 3 trials, by {protocol.metric_label('fd')}"
        )
        assert rows[2].chosen_by == "one of 3 trials, not ranked"
        seeds = {row["entry"]: row["seeds"] for row in export.rows(found)}
        assert (seeds[again.label], seeds[rows[1].entry.label]) == ("2 3", "0")
        assert [run.seed for run in rows[1].entry.runs.all()] == [0]
    assert sum(keeping.rescore(), keeping.Changes()) == (0, 0, 0)


def test_a_search_is_submitted_again_as_it_was() -> None:
    data = submission()
    experiment, _ = submit_once(data, user=None)
    search = Search.objects.get()
    for entry in tried(search):
        end(entry, 1.0)

    assert submit_once(data, user=None) == (experiment, False)
    with pytest.raises(SpecificationError) as caught:
        submit_once({**data, "entries": [looked_for(trials=2), data["entries"][1]]}, user=None)
    assert "entries" in caught.value.errors
    record = {**record_of(experiment), "name": "once more"}
    assert [entry["label"] for entry in record["entries"]] == ["tuned", "SNGAN"]
    again = submit_data(record, user=None).searches.get()
    assert [e.config for e in tried(again)] == [e.config for e in tried(search)]
    assert SampleSet.objects.filter(entry__search=again).count() == 0


def test_the_form_searches_over_what_would_be_a_grid() -> None:
    search = {"options": {"learning_rate": "1e-4..1e-2 log"}, "objective": "fd", "trials": 4}
    search |= {"method": "tpe", "runs": 2, "seed": 2}
    data = submission({"algorithm": "vae.conv", "preset": "tiny", "search": search})

    draft = draft_of(data)
    sent = QueryDict(mutable=True)
    sent.update({"unit": "images", "amount": "1000", "entries.0.algorithm": "vae.conv"})
    sent.update(
        {f"entries.0.search.{name}": text for name, text in draft["entries"][0]["search"].items()}
    )
    sent["entries.0.config.learning_rate"] = draft["entries"][0]["config"]["learning_rate"]

    assert to_data(draft)["entries"][0]["search"] == search
    assert to_data(typed(sent))["entries"][0]["search"] == search
    sent["entries.0.search.trials"] = ""
    assert to_data(typed(sent))["entries"][0]["grid"] == search["options"]


LEARNING = {"options": {"learning_rate": "1e-4..1e-1 log"}, "method": "tpe", "trials": 9}


def fd_of(entry: Entry) -> float:
    """Return a distance that is least at a learning rate of 0.01."""
    return float((math.log10(entry.config["learning_rate"]) + 2) ** 2)


def test_trials_that_learn_follow_those_that_end_and_come_nearer_to_the_best() -> None:
    search = submitted(looked_for(**LEARNING))
    assert [entry.trial for entry in tried(search)] == [1, 2, 3]
    needed = jobs_needed(search.experiment)

    done: list[Entry] = []
    while going_on := [entry for entry in tried(search) if entry not in done]:
        assert len(going_on) == min(3, 9 - len(done))  # as many at once as there were first
        assert jobs_needed(Experiment.objects.get()) == needed
        end(going_on[0], fd_of(going_on[0]))
        done.append(going_on[0])

    found = [fd_of(entry) for entry in done]
    assert len({entry.config["learning_rate"] for entry in done}) == 9
    assert fmean(found[-3:]) < fmean(found[:3])
    assert fd_of(search.entries.get(trial=0)) == min(found)


def test_no_two_trials_that_learn_are_alike_while_there_are_others() -> None:
    few = {"latent_dim": [8, 16], "learning_rate": [1e-4, 1e-3, 1e-2]}
    search = submitted(looked_for(options=few, method="tpe", trials=6))

    done: list[Entry] = []
    while going_on := [entry for entry in tried(search) if entry not in done]:
        end(going_on[0], float(going_on[0].config["latent_dim"]))
        done.append(going_on[0])

    assert len({(e.config["latent_dim"], e.config["learning_rate"]) for e in done}) == 6


def test_the_same_is_proposed_from_the_same_trials_and_another_from_others() -> None:
    search = submitted(looked_for(**LEARNING))
    for entry in tried(search):
        end(entry, fd_of(entry))
    known = trials_of(search)[:3]

    config = proposing.proposed(search, known, 4)
    others = [replace(each, value=-(each.value or 0)) for each in known]

    assert config == proposing.proposed(search, known, 4)
    assert config != proposing.proposed(search, others, 4)


def test_a_site_without_optuna_refuses_it_and_a_worker_without_it_draws_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = submitted(looked_for(**LEARNING))
    monkeypatch.setitem(sys.modules, "optuna", None)  # importing it fails
    first = tried(search)[0]
    end(first, fd_of(first))

    options = {"learning_rate": read_space("1e-4..1e-1 log", None)}
    drawn = list(trials(options, 4, search.seed))[3]
    assert search.entries.get(trial=4).config["learning_rate"] == drawn["learning_rate"]

    monkeypatch.setattr("experiments.submission.searching.find_spec", lambda _: None)
    with pytest.raises(SpecificationError, match="the extra `search` is to be installed"):
        submit_data(submission(looked_for(**LEARNING)), user=None)


def test_what_cannot_be_a_configuration_is_drawn_anew() -> None:
    search = submitted(looked_for(**LEARNING, runs=1))
    search.options = {"learning_rate": {"values": [5, 0.001]}}  # the one is out of bounds

    found = proposing.proposed(search, trials_of(search), 4)

    assert found is not None and found["learning_rate"] == 0.001
    search.options = {"learning_rate": {"values": [5, 6]}}
    assert proposing.proposed(search, trials_of(search), 4) is None


def reconstructions_on(rows: Iterable[Row]) -> list[int | None]:
    """Return the trials whose autoencoders a board shows."""
    sources = [row.entry.source for row in rows if row.control == controls.RECONSTRUCTED]
    return [Entry.objects.get(pk=source).trial for source in sources if source is not None]


def test_what_the_autoencoders_of_trials_leave_stands_on_the_board_of_their_experiment_alone() -> (
    None
):
    latent = {"algorithm": "latent.flow", "label": "tuned", "preset": "tiny"}
    latent["search"] = looked_for(options={"learning_rate": "1e-4..1e-2 log"})["search"]
    search = submitted(latent)
    for entry, fd in zip(tried(search), (2.0, 1.0, 3.0), strict=True):
        end(entry, fd)
        encode(entry)
    protocol, experiment = search.protocol, search.experiment

    assert (
        reconstructions_on(rank(protocol).rows)
        == reconstructions_on(reading.board(protocol).rows)
        == []
    )
    encode(search.entries.get(trial=0))
    for found in (rank(protocol), reading.board(protocol)):
        assert reconstructions_on(found.rows) == [0]
    then = rows_of(protocol, columns_of(protocol), None, timezone.now().date())
    assert reconstructions_on(then) == [0]
    for found in (
        rank(protocol, experiment=experiment),
        reading.board(protocol, experiment=experiment),
    ):
        assert sorted(reconstructions_on(found.rows), key=str) == [0, 1, 2, 3]
    Standing.objects.filter(of_entry=True).update(is_trial=False)  # as sites of before have it
    import_module("leaderboards.migrations.0008_trials_autoencoders").mark(apps, None)
    assert sum(keeping.rescore(), keeping.Changes()) == (0, 0, 0)


def encode(entry: Entry) -> None:
    """Let what is left of real images after a trial's autoencoder be drawn and scored."""
    for run in entry.runs.all():
        made = factories.make_run(entry=entry, seed=run.seed, status=Status.COMPLETED)
        services._queue_reconstructions(factories.make_checkpoint(run=made), 10)
        drawn = SampleSet.objects.get(run=made, entry__kind=Entry.Kind.CONTROL)
        factories._put(drawn, Status.COMPLETED, {})
        factories.make_evaluation(sample_set=drawn, protocol=entry.experiment.protocols.get())
