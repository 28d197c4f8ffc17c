"""Advice: what it counts and shows is what looking at every row of the board gives."""

import random
from itertools import product
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Protocol
from experiments.models import Entry, SampleSet
from leaderboards.advice import fitting
from leaderboards.advice.fitting import SPEED, TRAINING, Advice, Wish, advise, written
from leaderboards.models import Score, Standing
from tests import factories
from tests.experiments.test_searches import end, submitted, tried

pytestmark = pytest.mark.django_db
HERE = "CPU, 2 cores"
LIMITS = (None, 0.02, 1.0), (None, 1.0, 30.0)  # seconds per image, of a training
NAMES = ("plain", "Größe – 模型", 'of: "two" words', "1e3", "a" * 90, "🙂 - #x")


def made(entries: int) -> Protocol:
    """Return a protocol with so many scored entries, each drawn on a device, and some trials."""
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    given = [{"algorithm": "gan.sngan", "label": NAMES[k % 6] + f" {k}"} for k in range(entries)]
    experiment = factories.make_experiment(protocols=[protocol], entries=given, name=f"{entries}")
    for entry in factories.contenders_of(experiment):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 3.0, "recall": 0.5}])
    return protocol


def scatter(protocol: Protocol, seed: int) -> None:
    """Give every row random numbers, some absent, equal or of survivors, and random devices."""
    chance = random.Random(seed)  # noqa: S311  # no secret
    workers = [factories.make_worker(device=device) for device in (HERE, "H200")]
    SampleSet.objects.update(worker=workers[0])
    for drawn in SampleSet.objects.filter(entry__kind=Entry.Kind.GENERATOR):
        SampleSet.objects.filter(pk=drawn.pk).update(worker=chance.choice([*workers, workers[0]]))
    for standing in Standing.objects.filter(protocol=protocol, control=""):
        device, is_trial = chance.choice([HERE, HERE, "H200", ""]), chance.random() < 0.1
        Standing.objects.filter(pk=standing.pk).update(device=device, is_trial=is_trial)
        for score in standing.scores.all():
            value = chance.choice([None, 1.0, 50.0, chance.uniform(0.01, 60)])
            group = Score.Group.VALUE if chance.random() < 0.7 else Score.Group.OF_SURVIVORS
            group = Score.Group.ABSENT if value is None else group
            numbers = {"value": value, "badness": value, "group": group}
            Score.objects.filter(pk=score.pk).update(**numbers)


def plain(protocol: Protocol, wish: Wish, counted: int) -> tuple[list[int], list[int]]:
    """Return the keys of rows that fit, the best first; how many of the counted fit, do not, are unknown."""
    rows = []
    for row in Standing.objects.filter(protocol=protocol, control="", is_trial=False):
        scores = {score.metric: score for score in row.scores.all()}
        fd = scores["fd"]
        if fd.value is not None:
            fits = fits_wish(row, wish, scores[SPEED].value, scores[TRAINING].value)
            place = (fd.group, fd.badness, row.label, row.sampler_label, row.entry_id)
            rows.append((place, row.pk, fits))
    rows.sort(key=lambda row: row[0])
    of_counted = [fits for _, _, fits in rows[:counted]]
    return [pk for _, pk, fits in rows if fits], [of_counted.count(f) for f in (True, False, None)]


def fits_wish(
    row: Standing, wish: Wish, speed: float | None, training: float | None
) -> bool | None:
    """Return whether a row fits, None where nobody measured that."""
    fits = True
    if (limit := wish.seconds_per_image) is not None:
        sets = SampleSet.objects.filter(entry=row.entry, sampler_label=row.sampler_label)
        devices = {drawn.worker.device for drawn in sets if drawn.worker}
        if speed is None or (wish.device and devices != {wish.device}):
            return None
        fits = speed >= 1 / limit
    if (limit := wish.training_seconds) is not None:
        if training is None or (wish.device and row.device != wish.device):
            return None
        fits = fits and training <= limit
    return fits


def shown(found: Advice) -> list[int]:
    return [
        Standing.objects.get(entry=each.row.entry, sampler_label=each.row.sampler_label).pk
        for each in found.found
    ]


@pytest.mark.parametrize(("seed", "counted"), [(0, 2000), (1, 4)])
def test_advice_is_what_looking_at_every_row_gives(
    monkeypatch: pytest.MonkeyPatch, seed: int, counted: int
) -> None:
    monkeypatch.setattr(fitting, "COUNTED", counted)
    monkeypatch.setattr(fitting, "MOST", 3)
    protocol, most, unknown = made(12), 0, 0
    scatter(protocol, seed)
    for device, speed, training in product(("", HERE), *LIMITS):
        wish = Wish(device, seconds_per_image=speed, training_seconds=training)

        found = advise(protocol, wish)

        fitting_rows, counts = plain(protocol, wish, counted)
        assert [found.fitting, found.unfit, found.unmeasured] == counts, wish
        assert shown(found) == fitting_rows[:3], wish
        assert (found.of_best is not None) == (found.total < len(scored(protocol)))
        most, unknown = max(most, len(fitting_rows)), unknown + counts[2]
    assert most > 3 and unknown


def scored(protocol: Protocol) -> list[int]:
    with_value = Score.objects.filter(metric="fd", value__isnull=False, standing__protocol=protocol)
    mine = with_value.filter(standing__control="", standing__is_trial=False)
    return list(mine.values_list("standing", flat=True))


def test_advice_asks_as_many_questions_of_a_board_of_two_rows_as_of_ten() -> None:
    counts = []
    for protocol in (made(2), made(10)):
        with CaptureQueriesContext(connection) as asked:
            found = advise(protocol, Wish(seconds_per_image=1.0, training_seconds=3600.0))
        counts.append((len(found.found), len(asked)))

    (few, first), (many, second) = counts
    assert (few, many) == (2, 10) and first == second <= 9


def test_submissions_are_the_text_that_the_plain_writer_of_yaml_gives() -> None:
    found = advise(made(6), Wish())

    names = []
    for each in found.found:
        data: dict[str, Any] = yaml.safe_load(each.yaml)
        assert each.yaml == yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        names.append(data["entries"][0]["label"])
    assert sorted(names) == sorted(NAMES[k] + f" {k}" for k in range(6))


@pytest.mark.parametrize("seed", range(5))
def test_any_text_is_written_as_the_plain_writer_of_yaml_writes_it(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    letters = [*map(chr, range(32, 0x250)), *"     :-#'\"{}[],&*!|>%@`模型🙂\u2028\u200b\ufeff\n\t"]
    for length in (1, 3, 30, 200) * 5:
        text = "".join(chance.choices(letters, k=length))
        data = {"name": text, "entries": [{"label": text, "config": {text[:9]: 1.5}}]}

        assert written(data) == yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def test_the_best_of_a_search_is_advised_with_its_search() -> None:
    search = submitted()
    for place, trial in enumerate(tried(search)):
        end(trial, 5.0 - place)
    best = search.entries.get(trial=0)
    protocol = search.experiment.protocols.get()
    factories.make_scores(entry=best, protocol=protocol, values=[{"fd": 2.0}])

    (advised,) = advise(protocol, Wish()).found

    (entry,) = yaml.safe_load(advised.yaml)["entries"]
    assert (advised.row.entry, entry["label"]) == (best, search.label)
    assert entry["search"]["trials"] == 3


def test_a_name_that_is_taken_gets_the_next_number() -> None:
    protocol = made(1)
    for name in (f"{NAMES[0]} 0 again", f"{NAMES[0]} 0 again 2", f"{NAMES[0]} 0 again 4"):
        factories.make_experiment(protocols=[protocol], name=name)

    (advised,) = advise(protocol, Wish()).found

    assert yaml.safe_load(advised.yaml)["name"] == f"{NAMES[0]} 0 again 3"
