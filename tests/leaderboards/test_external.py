"""Rows of samples that were made elsewhere: ranked like others, their costs unknown or declared."""

import csv
import io
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from catalog.models import Protocol
from experiments import services
from experiments.models import Entry, Experiment, SampleSet
from experiments.progress import jobs_needed
from jobs.models import Status
from leaderboards import export, ranking, tables
from leaderboards.board import Row
from tests import factories

pytestmark = pytest.mark.django_db
DECLARED = {"nfe": 50, "images_per_second": 1e9}
COSTS = ("images_per_second", "nfe", "parameters", "device_seconds")


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(metrics=["fd", "recall"])


@pytest.fixture
def experiment(protocol: Protocol) -> Experiment:
    """An entry that was trained here, with its values."""
    experiment = factories.make_experiment(protocols=[protocol])
    trained = experiment.entries.get(kind=Entry.Kind.GENERATOR)
    factories.make_scores(entry=trained, protocol=protocol, values=[{"fd": 5.0, "recall": 0.5}])
    return experiment


def scored(experiment: Experiment, *, fd: float = 2.0, **manifest: Any) -> Entry:
    entry = factories.make_external(experiment, **manifest)
    values = [{"fd": fd, "recall": 0.6}] * entry.sample_sets.count()
    protocol = experiment.protocols.get()
    factories.make_scores(entry=entry, protocol=protocol, values=values)
    return entry


def row_of(protocol: Protocol, entry: Entry) -> Row:
    return next(row for row in ranking.rank(protocol).rows if row.entry == entry)


def test_an_external_entry_is_ranked_by_what_was_measured(
    experiment: Experiment, protocol: Protocol
) -> None:
    entry = scored(experiment, system="DALL-E", version="3")

    row = row_of(protocol, entry)

    assert (row.entry.label, row.kind, row.entry.family_label) == ("DALL-E 3", *["External"] * 2)
    assert row.cells["fd"].rank == 1
    assert (row.seeds_scored, row.seeds_total) == (1, 1)


def test_its_costs_are_unknown_whether_declared_or_not(
    experiment: Experiment, protocol: Protocol
) -> None:
    entry = scored(experiment, costs=DECLARED)

    cells = row_of(protocol, entry).cells

    for key in COSTS:
        assert cells[key].value is None and cells[key].unknown
        assert (cells[key].rank, cells[key].leads) == (None, False)
        assert cells[key].declared == DECLARED.get(key)
        assert cells[key].reason.startswith("unknown: not measured here, ")


def test_a_declared_cost_takes_no_rank_from_what_was_measured(
    experiment: Experiment, protocol: Protocol
) -> None:
    scored(experiment, costs=DECLARED)

    trained = experiment.entries.get(kind=Entry.Kind.GENERATOR)

    assert row_of(protocol, trained).cells["images_per_second"].rank == 1


def test_each_lost_set_of_an_entry_counts(experiment: Experiment, protocol: Protocol) -> None:
    entry = scored(experiment, sets=3)
    lost = entry.sample_sets.exclude(seed=0)
    lost.update(status=Status.FAILED, reason="damaged")

    row = row_of(protocol, entry)

    assert (row.seeds_failed, row.seeds_total) == (2, 3)


def test_the_page_says_unknown_and_declared_and_that_kinds_are_mixed(
    client: Client, experiment: Experiment, protocol: Protocol
) -> None:
    only_trained = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()
    entry = scored(experiment, costs=DECLARED, findings=["2 of 9 images are copies"])

    page = client.get(f"/leaderboards/{protocol.fingerprint}/").content.decode()

    assert "mixes kinds" not in only_trained
    assert "1 trained here, 1 external" in page
    assert page.index("mixes kinds") < page.index("<table")
    row = page[page.index(f'data-entry="{entry.label}"') :].split("</tr>")[0]
    assert row.count("unknown</span>") == 2
    assert row.count('<span class="ranking-unit">declared</span>') == 2
    assert "1 finding" in row and "2 of 9 images are copies" in row
    assert f"#entry-{entry.pk}" in row


def test_exports_name_the_kind_and_leave_no_cost_blank(
    experiment: Experiment, protocol: Protocol
) -> None:
    entry = scored(experiment, costs=DECLARED, findings=["2 of 9 images are copies", "odd"])
    board = ranking.rank(protocol)

    rows = list(csv.DictReader(io.StringIO(export.to_csv(board))))

    (row,) = [row for row in rows if row["entry"] == entry.label]
    assert row["kind"] == "external"
    assert {row[key] for key in COSTS} == {"unknown"}
    assert row["findings"] == "2 of 9 images are copies; odd"
    assert [row[f"{key} is"] for key in COSTS] == ["declared", "declared", "unknown", "unknown"]
    assert [row[f"{key} declared"] for key in COSTS] == ["1000000000.0", "50.0", "", ""]
    (trained,) = [row for row in rows if row["kind"] == "generator"]
    assert (trained["images_per_second"], trained["images_per_second is"]) == ("50.0", "measured")
    assert trained["findings"] == ""
    (flat,) = [r for r in export.to_dict(board)["rows"] if r["entry"] == entry.label]
    assert flat["nfe"] is None and flat["nfe is"] == "declared" and flat["nfe declared"] == 50.0


def test_a_board_of_external_entries_alone_mixes_nothing(protocol: Protocol) -> None:
    experiment = Experiment.objects.create(name="elsewhere", dataset=protocol.dataset, seeds=[0])
    experiment.protocols.add(protocol)
    scored(experiment)

    assert tables.table(ranking.rank(protocol)).mixed == ""


def test_the_experiments_page_shows_what_is_said_and_what_is_not(
    client: Client, experiment: Experiment
) -> None:
    entry = scored(
        experiment, made_by="Jo <script>", costs=DECLARED, findings=["10 of 20 images are lossy"]
    )

    page = client.get(experiment.get_absolute_url()).content.decode()

    panel = page[page.index(f'id="entry-{entry.pk}"') :].split("</div>")[0]
    assert "Jo &lt;script&gt;" in panel
    assert "External: only its samples are known, 1 set" in panel
    assert "licence" in panel and panel.count("not said") == 6
    assert panel.count("declared") == 2
    assert "10 of 20 images are lossy" in panel


def test_the_api_and_the_lists_show_it(client: Client, experiment: Experiment) -> None:
    entry = scored(experiment, findings=["a finding"])
    sample_set = entry.sample_sets.get()

    found = client.get(f"/api/samplesets/{sample_set.pk}/").json()
    entries = client.get(f"/api/experiments/{experiment.pk}/").json()["entries"]
    (link,) = client.get("/api/leaderboards/").json()
    board = client.get(f"/api/leaderboards/{link['fingerprint']}/").json()

    assert (found["findings"], found["seed"]) == (["a finding"], 0)
    rows = {row["entry"]: row["findings"] for row in board["rows"] if not row["control"]}
    assert rows.pop(entry.label) == "a finding" and [*rows.values()] == [""]
    (told,) = [each for each in entries if each["id"] == entry.pk]
    assert (told["kind"], told["family"]) == ("external", "external")
    assert told["config"]["manifest"]["system"] == entry.label
    assert link["entries"] == 2


def test_an_experiment_without_trainings_has_no_budget(client: Client, protocol: Protocol) -> None:
    experiment = Experiment.objects.create(name="elsewhere", dataset=protocol.dataset, seeds=[0, 1])
    experiment.protocols.add(protocol)
    scored(experiment, sets=2)

    page = client.get(f"{experiment.get_absolute_url()}?seed=1").content.decode()

    assert "nothing is trained" in page and "Training</h2>" not in page
    assert client.get(f"/api/experiments/{experiment.pk}/").json()["budget"] is None
    assert client.get("/experiments/").status_code == 200
    assert jobs_needed(experiment) == 2 * 2


def test_a_set_of_an_entry_stands_once(experiment: Experiment) -> None:
    entry = factories.make_external(experiment)

    with pytest.raises(IntegrityError), transaction.atomic():
        SampleSet.objects.create(entry=entry, sampler_label="handed in", count=1)


def test_only_what_is_trained_here_has_an_algorithm(experiment: Experiment) -> None:
    entry = factories.make_external(experiment)

    with pytest.raises(IntegrityError), transaction.atomic():
        Entry.objects.filter(pk=entry.pk).update(algorithm="gan.sngan")


def test_an_entry_that_joins_changes_no_submission(experiment: Experiment) -> None:
    protocol = experiment.protocols.get()
    data = factories.experiment_data(protocol=protocol, name=experiment.name)
    factories.make_external(experiment)

    assert services.submit_once(data, user=None) == (experiment, False)
