"""A large experiment's own board is judged once, and says what judging it now would say."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, strategies as st

from catalog.models import Protocol
from experiments.models import Entry, Experiment
from leaderboards.board import Board, columns_of
from leaderboards.models import ExperimentJudging, Judgement, Judging, Standing
from leaderboards.ranking import rank
from leaderboards.scores import cells, judging, query, reading, standings, within
from leaderboards.scores.keeping import _as_json
from leaderboards.statistics.spread import Seed
from tests import factories

pytestmark = pytest.mark.django_db
LABELS = "abcdef"
Scored = tuple[int | None, int | None]


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let six rows and controls be many."""
    monkeypatch.setattr(within, "FEW", 3)


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(metrics=["fd", "recall"], num_images=20)


@pytest.fixture
def experiment(protocol: Protocol) -> Experiment:
    """Return an experiment whose first two entries are the same, and the others by their FD."""
    entries = [{"algorithm": "vae.conv", "label": label} for label in LABELS]
    made = factories.make_experiment(protocols=[protocol], entries=entries, seeds=[0, 1])
    for place, entry in enumerate(factories.contenders_of(made)[:-1]):
        values = [{"fd": 1.0 + place // 2, "recall": 0.5}, {"fd": 1.5 + place, "recall": 0.4}]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
    return made


def page(experiment: Experiment, protocol: Protocol, **asked: str) -> Board:
    """Return a page of two rows of the experiment's board."""
    sort = asked.pop("sort", "")
    wanted = query.read(asked, columns_of(protocol), size=2)
    return reading.board(protocol, sort=sort, experiment=experiment, query=wanted)


def told(board: Board) -> list[object]:
    """Return all that a board says of its rows."""
    return [(row.entry.pk, row.sampler_label, row.cells, row.same_as) for row in board.rows]


@pytest.mark.parametrize("sort", ["", "-fd", "recall", "name", "-name", "images_per_second"])
def test_a_kept_judgement_is_that_of_now(
    experiment: Experiment, protocol: Protocol, sort: str
) -> None:
    whole = rank(protocol, sort=sort, experiment=experiment)
    judging.judge(protocol)

    pages = [page(experiment, protocol, sort=sort, page=str(n)) for n in (1, 2, 3, 4, 5, 6)]

    assert ExperimentJudging.objects.filter(experiment=experiment).count() == 1
    assert [row for each in pages for row in told(each)] == told(whole)
    assert {each.rows_in_all for each in pages} == {len(whole.rows)}
    assert {each.budgets for each in pages} == {whole.budgets}
    assert all(each.contenders == {"generator": len(LABELS)} for each in pages)


def test_a_baseline_on_another_page_is_judged_too(
    experiment: Experiment, protocol: Protocol
) -> None:
    key = factories.contenders_of(experiment)[0].pk
    judging.judge(protocol)

    board = page(experiment, protocol, page="3", baseline=str(key))

    mine = next(row for row in rank(protocol, experiment=experiment).rows if row.entry.pk == key)
    assert board.baseline is not None
    assert board.baseline.cells == mine.cells


def test_a_new_score_is_judged_beside_the_others(
    experiment: Experiment, protocol: Protocol
) -> None:
    judging.judge(protocol)
    last = factories.contenders_of(experiment)[-1]

    factories.make_scores(entry=last, protocol=protocol, values=[{"fd": 0.1, "recall": 0.9}] * 2)

    assert told(page(experiment, protocol)) == told(rank(protocol, experiment=experiment))[:2]


def test_workers_judge_the_own_boards_of_what_changed(
    experiment: Experiment, protocol: Protocol
) -> None:
    judging.judge(protocol)
    first = ExperimentJudging.objects.get(experiment=experiment)
    judging.judge(protocol)  # nothing changed since

    board = page(experiment, protocol)

    assert told(board) == told(rank(protocol, experiment=experiment))[:2]
    (kept,) = ExperimentJudging.objects.filter(experiment=experiment)
    assert (kept.pk, kept.of) == (first.pk, first.of), "the page found what workers kept"


def test_few_rows_are_judged_as_they_are_asked_for(
    experiment: Experiment, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "FEW", 40)

    board = page(experiment, protocol)

    assert told(board) == told(rank(protocol, experiment=experiment))[:2]
    assert not ExperimentJudging.objects.exists()


def writes(queries: CaptureQueriesContext) -> list[str]:
    """Return the tables that were written."""
    texts = [each["sql"] for each in queries.captured_queries]
    return [text.split('"')[1] for text in texts if text.startswith(("INSERT", "UPDATE", "DELETE"))]


def test_who_reads_a_board_of_before_judges_it_and_writes_nothing_but_that_he_asks_a_worker(
    experiment: Experiment, protocol: Protocol
) -> None:
    judged_now = told(rank(protocol, experiment=experiment))[:2]
    judging.judge_asked()
    ExperimentJudging.objects.all().delete()

    with CaptureQueriesContext(connection) as first:
        found = page(experiment, protocol)
    with CaptureQueriesContext(connection) as second:
        again = page(experiment, protocol)
    judging.judge_asked()
    with CaptureQueriesContext(connection) as third:
        kept = page(experiment, protocol)

    assert told(found) == told(again) == told(kept) == judged_now
    assert (found.judged_at, found.waiting) == (kept.judged_at, kept.waiting) == (None, 0)
    assert set(writes(first)) == {"leaderboards_judging"}
    assert writes(second) == writes(third) == [], "it was asked for already; it is kept"
    assert ExperimentJudging.objects.filter(experiment=experiment).count() == 1


def test_of_too_many_rows_it_is_said_how_old_their_judgement_is(
    experiment: Experiment, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "MOST_AT_ONCE", 3)
    never = page(experiment, protocol)
    judging.judge_asked()
    of_now = page(experiment, protocol)
    last = factories.contenders_of(experiment)[-1]
    factories.make_scores(entry=last, protocol=protocol, values=[{"fd": 0.1, "recall": 0.9}] * 2)

    before = page(experiment, protocol)
    judging.judge_asked()
    after = page(experiment, protocol)

    assert (never.judged_at, never.waiting) == (None, never.rows_in_all)
    assert {cell.rank for row in never.rows for cell in row.cells.values()} == {None}
    assert (of_now.judged_at, of_now.waiting) == (None, 0)
    assert before.judged_at is not None and before.waiting == 1
    fds = [row.cells["fd"] for row in before.rows if not row.is_control]
    assert fds[0].value == 0.1 and fds[0].rank is None, "nobody has judged it yet"
    assert after.waiting == 0 and told(after) == told(rank(protocol, experiment=experiment))[:2]


def test_a_worker_that_is_killed_between_the_boards_leaves_the_second_to_the_next(
    experiment: Experiment, protocol: Protocol
) -> None:
    Judging.objects.update(rung_at=None)  # as who takes a board does, before
    judging._judge(protocol)  # ... he is killed here
    assert not ExperimentJudging.objects.exists()

    page(experiment, protocol)
    judging.judge_asked()

    kept = ExperimentJudging.objects.get(experiment=experiment)
    assert kept.judged_at is not None
    assert told(page(experiment, protocol)) == told(rank(protocol, experiment=experiment))[:2]


def test_what_another_edition_said_is_not_read(
    experiment: Experiment, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(within, "MOST_AT_ONCE", 3)
    judging.judge(protocol)
    ExperimentJudging.objects.update(of="0" * 64)

    board = page(experiment, protocol)

    assert (board.judged_at, board.waiting) == (None, board.rows_in_all)
    judging.judge(protocol)
    assert page(experiment, protocol).waiting == 0


AGAIN = [  # of a control that another entry has again: seconds later, and by which evaluation
    pytest.param((None, None), (None, None), id="neither was scored"),
    pytest.param((0, 5), (None, None), id="the second was not scored"),
    pytest.param((None, None), (0, 5), id="the first was not scored"),
    pytest.param((9, 5), (3, 6), id="the second was scored before"),
    pytest.param((3, 6), (3, 5), id="at once, the second by an earlier evaluation"),
    pytest.param((3, 5), (3, 6), id="at once, the first by an earlier evaluation"),
]


@pytest.mark.parametrize(("one", "two"), AGAIN)
def test_all_rows_of_an_experiment_are_those_of_its_board(
    experiment: Experiment, protocol: Protocol, one: Scored, two: Scored
) -> None:
    control = Entry.objects.filter(experiment=experiment, kind=Entry.Kind.CONTROL)[0]
    kind = control.config["control"]
    Standing.objects.filter(entry=control).delete()
    entries = [control, Entry.objects.get(pk=control.pk)]
    entries[1].pk, entries[1].position, entries[1].label = None, 99, "again"
    entries[1].save(force_insert=True)
    for entry, (seconds, by) in zip(entries, (one, two), strict=True):
        at = None if seconds is None else datetime(2026, 1, 1, tzinfo=UTC) + timedelta(0, seconds)
        Standing.objects.create(
            protocol=protocol,
            entry=entry,
            sampler_label="x",
            label=entry.label,
            control=kind,
            scored_at=at,
            scored_by=by,
            seeds_scored=1,
            seeds_total=1,
            seeds_failed=0,
            changed_at=timezone.now(),
        )

    with CaptureQueriesContext(connection) as queries:
        found = standings.all_within(protocol, experiment, most=40)
        told = [(each.entry.experiment.name, each.entry.search) for each in found or ()]

    assert found is not None and found == list(standings.of_board(protocol, experiment))
    assert sum(each.control == kind for each in found) == 1
    assert len(queries) == 1 and len(told) == len(found)
    assert standings.all_within(protocol, experiment, most=len(found) - 1) is None


def test_judging_asks_as_often_for_many_rows_as_for_few() -> None:
    asked = []
    for number in (3, 6):
        protocol = factories.make_protocol(metrics=["fd"], num_images=20)
        entries = [{"algorithm": "gan.sngan", "label": f"{k}"} for k in range(number)]
        experiment = factories.make_experiment(protocols=[protocol], entries=entries)
        for place, entry in enumerate(factories.contenders_of(experiment)):
            factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 1.0 + place}])
        with CaptureQueriesContext(connection) as queries:
            judging.judge(protocol)
        asked.append(len(queries))

    assert asked[0] == asked[1]


def test_judging_again_writes_only_what_changed(protocol: Protocol, experiment: Experiment) -> None:
    judging.judge(protocol)
    with CaptureQueriesContext(connection) as queries:
        judging.judge(protocol)
    again = written(queries)
    before = dict(Judgement.objects.values_list("pk", "found"))
    last = factories.contenders_of(experiment)[-1]

    factories.make_scores(entry=last, protocol=protocol, values=[{"fd": 9e9, "recall": 0.1}] * 2)
    with CaptureQueriesContext(connection) as queries:
        judging.judge(protocol)

    assert (again, len(written(queries))) == ([], 1)
    after = dict(Judgement.objects.values_list("pk", "found"))
    assert after.keys() == before.keys()
    assert after != before
    assert told(reading.board(protocol)) == told(rank(protocol))


def written(queries: CaptureQueriesContext) -> list[str]:
    """Return the questions that wrote or deleted judgements."""
    asked = [query["sql"] for query in queries]
    return [sql for sql in asked if "judgement" in sql and sql.startswith(("INSERT", "DELETE"))]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 10),
                st.none() | st.floats(min_value=0),
            )
        )
    )
)
def test_seeds_are_read_as_they_were_written(rows: list[list[tuple[float, float | None]]]) -> None:
    texts = [json.dumps([[value, _as_json(error)] for value, error in row]) for row in rows]

    found = list(cells._seeds(texts))

    assert found == [tuple(Seed(*seed) for seed in row) for row in rows]
    assert all(isinstance(x, float) for row in found for seed in row for x in seed if x is not None)
    assert all(isinstance(seed, Seed) for row in found for seed in row)
