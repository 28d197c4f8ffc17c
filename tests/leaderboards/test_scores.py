"""Rows of boards: whatever happens to jobs, in any order, they are what values and jobs say."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from django.core.management import call_command
from hypothesis import Phase, given, settings as hypothesis_settings, strategies as st
from hypothesis.extra.django import TestCase

from catalog.models import Protocol
from experiments import services
from experiments.models import Evaluation, Experiment, MetricValue, Run, SampleSet
from jobs import lifecycle
from jobs.models import Job, Status, Worker
from leaderboards.board import Board
from leaderboards.models import Judging, Score, Standing
from leaderboards.ranking import rank
from leaderboards.scores import bell, cards, judging, keeping, reading, standstill
from leaderboards.scores.query import Query
from tests import factories

pytestmark = pytest.mark.django_db
METRICS = ("fd", "recall", "authenticity", "ct")
FEW = dict.fromkeys(METRICS, 1.0)


def facts(board: Board) -> list[dict[str, Any]]:
    """Return all that a board says, in its order."""
    return [
        {
            "entry": row.entry.pk,
            "sampler": row.sampler_label,
            "seeds": (row.seeds_scored, row.seeds_total, row.seeds_failed),
            "cells": row.cells,
            "findings": row.findings,
            "facts": (row.scored_at, row.device, row.budget, row.same_as),
        }
        for row in board.rows
    ]


def assert_follows(experiments: Iterable[Experiment]) -> None:
    """Assert that boards from rows are those from values, kept judgements are what they would be."""
    for protocol in Protocol.objects.all():
        for experiment in (None, *experiments):
            for sort in ("", "-recall", "-date"):
                wanted = rank(protocol, sort=sort, experiment=experiment)
                found = reading.board(protocol, sort=sort, experiment=experiment)
                assert facts(found) == facts(wanted)
    assert sum(keeping.rescore(), keeping.Changes()) == (0, 0, 0)


def assert_pages(protocol: Protocol) -> None:
    """Assert that pages which the database put in order are the whole board, cut in pieces."""
    for sort in ("fd", "-fd", "-recall", "ct", "nfe", "-parameters", "name", "-date", "-device"):
        whole = facts(rank(protocol, sort=sort))
        pages = [Query(page=page, size=3) for page in range(1, len(whole) // 3 + 3)]
        found = [reading.board(protocol, sort=sort, query=page) for page in pages]
        assert [row for page in found for row in facts(page)] == whole
        assert {page.rows_in_all for page in found} == {len(whole)}


def make_experiment(protocols: list[Protocol], *, seeds: int = 2, images: int = 1000) -> Experiment:
    flow = {
        "algorithm": "diffusion.flow",
        "samplers": [{"name": "euler", "steps": n} for n in (2, 4)],
    }
    return factories.make_experiment(
        protocols=protocols,
        entries=[{"algorithm": "gan.sngan"}, flow],
        seeds=range(seeds),
        budget={"images": images},
    )


def make_protocols(count: int) -> list[Protocol]:
    dataset = factories.make_dataset()
    return [
        factories.make_protocol(dataset=dataset, metrics=METRICS, num_images=20)
        for _ in range(count)
    ]


def jobs_of(status: Status | None) -> list[Job]:
    kinds: tuple[type[Job], ...] = (Run, SampleSet, Evaluation)
    found = [job for kind in kinds for job in kind._default_manager.order_by("pk")]
    return [job for job in found if status is None or job.status == status]


def complete(job: Job, chance: random.Random) -> None:
    """End a queued job as a worker does, with numbers by chance, some of them absent."""
    job = claimed(job)
    if isinstance(job, Run):
        checkpoint = factories.make_checkpoint(run=job)
        services.finish_training(job, checkpoint, device_seconds=chance.random(), parameters=10)
    elif isinstance(job, SampleSet):
        services.finish_sampling(job, images_per_second=chance.uniform(1, 9), nfe=2)
    elif isinstance(job, Evaluation):
        services.finish_evaluation(job, {name: value(chance) for name in METRICS})


def value(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.1:
        return {"value": None, "reason": "not defined here"}
    number = round(chance.uniform(0, 3), 1)  # ties are likely
    return {"value": number, "standard_error": 0.1, "low": number - 0.2, "high": number + 0.2}


def claimed(job: Job) -> Job:
    found = lifecycle.claim(type(job), job.pk, Worker.objects.first() or factories.make_worker())
    assert found is not None
    return found


def fail(job: Job, chance: random.Random) -> None:
    lifecycle.fail(claimed(job), "out of memory")


def cancel(job: Job, chance: random.Random) -> None:
    services.cancel_job(job, user=None)


def stop(job: Job, chance: random.Random) -> None:
    """Cancel a job while it runs."""
    running = claimed(job)
    lifecycle.cancel(running, by="ada")
    lifecycle.confirm_cancel(running)


def retry(job: Job, chance: random.Random) -> None:
    services.retry_job(job, user=None)


def delete(job: Job, chance: random.Random) -> None:
    job.delete()


DEEDS = {complete: Status.QUEUED, fail: Status.QUEUED, cancel: Status.QUEUED, stop: Status.QUEUED}
RARE = {retry: Status.FAILED, delete: None}
LIKELY = [*[complete] * 10, *DEEDS, *RARE]


class Histories(TestCase):
    @hypothesis_settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(seed=st.integers(0, 2**32), length=st.integers(5, 45))
    def test_rows_follow_whatever_happens(self, seed: int, length: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # keeps no secret
        protocols = make_protocols(2)
        experiments = [
            make_experiment(protocols),
            make_experiment(protocols[:1], seeds=1, images=900),
        ]

        for _ in range(length):
            deed = chance.choice(LIKELY)
            if jobs := jobs_of({**DEEDS, **RARE}[deed]):
                deed(chance.choice(jobs), chance)

        assert_follows(experiments)
        for protocol in protocols:
            judging.judge(protocol)
            assert_pages(protocol)
        assert not Standing.objects.filter(is_judged=False).exists()
        assert_follows(experiments)


def test_an_experiment_has_its_rows_when_it_is_submitted() -> None:
    (protocol,) = make_protocols(1)
    make_experiment([protocol])

    rows = Standing.objects.filter(protocol=protocol, control="")

    assert sorted(rows.values_list("sampler_label", "seeds_scored", "seeds_total")) == [
        ("Euler 2", 0, 2),
        ("Euler 4", 0, 2),
        ("direct", 0, 2),
    ]


def test_rows_go_with_their_experiment() -> None:
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])

    experiment.delete()

    assert not Standing.objects.exists()
    assert not Score.objects.exists()


def test_a_protocol_that_an_experiment_gets_later_has_rows() -> None:
    first, second = make_protocols(2)
    experiment = make_experiment([first])

    experiment.protocols.add(second)
    assert_follows([experiment])
    experiment.protocols.set([second])

    assert not Standing.objects.filter(protocol=first).exists()
    assert_follows([experiment])


def test_rescoring_says_what_was_wrong_and_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])
    scored = factories.make_scores(
        entry=factories.contenders_of(experiment)[0], protocol=protocol, values=[FEW, FEW]
    )
    MetricValue.objects.filter(evaluation=scored[0], metric="fd").update(value=7.0)
    Standing.objects.filter(sampler_label="Euler 4").delete()

    call_command("rescore")
    call_command("rescore")

    first, second = capsys.readouterr().out.splitlines()
    assert first == "1 rows added, 1 mended, 0 removed"
    assert second == "0 rows added, 0 mended, 0 removed"
    assert_follows([experiment])


def test_a_large_board_says_since_when_it_waits_for_a_judgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])
    other, one = factories.contenders_of(experiment)
    factories.make_scores(entry=one, protocol=protocol, values=[FEW, FEW])
    judging.judge(protocol)
    monkeypatch.setattr(standstill, "MOST_AT_ONCE", 0)
    before = reading.board(protocol)

    factories.make_scores(entry=other, protocol=protocol, values=[FEW, FEW])
    waiting = reading.board(protocol)
    judging.judge(protocol)
    after = reading.board(protocol)

    assert (before.waiting, waiting.waiting, after.waiting) == (0, 1, 0)
    assert waiting.judged_at == before.judged_at
    ranks = [row.cells["fd"].rank for row in waiting.rows if row.entry == one]
    assert ranks == [1, None]  # its other sampler has no value
    assert facts(after) == facts(rank(protocol))


def test_a_change_during_a_judgement_is_judged_again() -> None:
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])
    board = judging.judge(protocol)
    known = dict(Standing.objects.filter(protocol=protocol).values_list("pk", "changed_at"))

    factories.make_scores(
        entry=factories.contenders_of(experiment)[0], protocol=protocol, values=[FEW, FEW]
    )
    judging._keep(board, known, {}, {})

    assert Standing.objects.filter(protocol=protocol, is_judged=False).count() == 1
    assert facts(reading.board(protocol)) == facts(rank(protocol))


def test_a_card_says_the_same_from_what_is_kept(django_assert_max_num_queries: Any) -> None:
    (protocol,) = make_protocols(1)
    experiment = make_experiment([protocol])
    for entry, fd in zip(factories.contenders_of(experiment), (1.0, 2.0), strict=True):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd, "recall": fd}] * 2)
    (fresh,) = cards.overview([protocol])

    judging.judge(protocol)
    with django_assert_max_num_queries(9):
        (kept,) = cards.overview([protocol])

    assert (kept.entries, kept.scored) == (fresh.entries, fresh.scored) == (3, 2)
    assert [leader.__dict__ | {"row": leader.row.entry} for leader in kept.leaders] == [
        leader.__dict__ | {"row": leader.row.entry} for leader in fresh.leaders
    ]


def test_a_board_that_is_asked_for_is_judged_once_by_whoever_takes_it() -> None:
    (protocol,) = make_protocols(1)
    make_experiment([protocol])
    bell.ring(protocol.pk)
    asked = Judging.objects.get(protocol=protocol).rung_at
    bell.ring(protocol.pk)

    assert asked is not None
    assert Judging.objects.get(protocol=protocol).rung_at == asked
    assert (judging.judge_asked(), judging.judge_asked()) == (1, 0)
    judged_at = Judging.objects.get(protocol=protocol).judged_at
    assert judged_at is not None and judged_at > asked
    bell.ring(protocol.pk)
    assert judging.judge_asked() == 1
