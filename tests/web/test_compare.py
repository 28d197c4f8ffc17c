"""Classes of the compared entries, and their samples by class with nearest training images."""

from typing import Any

import pytest
from django.test import Client

from experiments.models import Entry, Evaluation, SheetReading
from leaderboards.comparing.classes import classes
from leaderboards.comparing.sides import read
from leaderboards.comparing.values import tables
from tests import factories
from tests.static import static_root
from tests.web.html import get

__all__ = ["static_root"]

pytestmark = pytest.mark.django_db


def counted(generated: list[int], reference: list[int]) -> dict[str, Any]:
    return {"value": 0.1, "details": {"generated": generated, "reference": reference}}


def scored(*seeds_of: list[list[int]], names: tuple[str, ...] = ("cat", "dog")) -> list[Entry]:
    """Return entries whose seeds drew so many images of each class; of the reference all 50."""
    dataset = factories.make_dataset(classes=names)
    protocol = factories.make_protocol(dataset=dataset, metrics=["fd", "class_kl"])
    entries = [{"algorithm": "vae.conv", "label": f"entry {k}"} for k in range(len(seeds_of))]
    experiment = factories.make_experiment(protocols=[protocol], entries=entries, seeds=[0, 1])
    found = factories.contenders_of(experiment)
    for entry, seeds in zip(found, seeds_of, strict=True):
        values: list[dict[str, Any]] = [
            {"fd": 1.0, "class_kl": counted(each, [50] * len(names))} for each in seeds
        ]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
    for drawn in (each.sample_set for each in Evaluation.objects.filter(status="completed")):
        drawn.sha256 = factories.sha256(str(drawn.pk))
        drawn.save()
    return found


def kept(entry: Entry, **fields: Any) -> SheetReading:
    evaluation = Evaluation.objects.filter(sample_set__entry=entry).order_by("pk").first()
    assert evaluation is not None
    return factories.make_reading(evaluation, **fields)


def address(entries: list[Entry], more: str = "") -> str:
    return f"/compare/?entries={','.join(str(each.pk) for each in entries)}{more}"


def test_shares_are_means_over_seeds_beside_the_real_ones() -> None:
    made = scored([[30, 10], [10, 30]], [[40, 0]])
    comparison = read([str(each.pk) for each in made])

    [found] = classes(comparison, tables(comparison))

    assert found.names == ("cat", "dog") and found.real == (0.5, 0.5)
    assert [(each.shares, each.seeds) for each in found.histograms] == [
        ((0.5, 0.5), 2),
        ((1.0, 0.0), 1),
    ]


def test_of_many_classes_those_that_differ_most_are_shown() -> None:
    names = tuple(f"kind {k}" for k in range(30))
    lost = [10] * 30
    lost[29] = 0
    comparison = read([str(each.pk) for each in scored([lost], [[10] * 30], names=names)])

    [found] = classes(comparison, tables(comparison))

    assert len(found.names) == 20 and found.total == 30
    assert found.names[-1] == "kind 29"


def test_rest_has_the_share_of_every_class(client: Client) -> None:
    names = tuple(f"kind {k}" for k in range(30))
    one, other = scored([[10] * 30, [20] + [0] * 29], [], names=names)

    told = client.get(f"/api/v1/compare/?entries={one.pk},{other.pk}").json()

    [found] = told["classes"]
    assert found["protocol"] == told["boards"][0]["protocol"]
    assert found["names"] == list(names) and found["real"] == [1 / 30] * 30
    [shares] = found["entries"]
    assert (shares["entry"], shares["seeds"]) == (str(one.pk), 2)
    assert shares["shares"][:2] == [(1 / 30 + 1) / 2, 1 / 60] and len(shares["shares"]) == 30


def test_a_page_says_what_was_not_kept(client: Client, static_root: None) -> None:
    made = scored([[30, 10]], [[40, 0]])

    page = get(client, address(made, "&rows=classes&under=nearest"))

    assert "75.0 %" in page.text
    assert page.text.count("not kept: it was evaluated before") == 4  # two classes, two entries
    assert "Nearest training images of these are not kept" in page.text


def test_images_stand_by_class_with_what_is_nearest(client: Client, static_root: None) -> None:
    one, other = scored([[30, 10]], [[40, 0]])
    told = kept(one, asked=[0, 1] * 5, predicted=[0] * 10)
    kept(other, asked=None, predicted=[1] * 10, distances=[0.125] * 10)

    page = get(client, address([one, other], "&rows=classes&under=nearest"))

    grid = page.one("table", class_name="compare-grid")
    cat, dog = ([cell.text for cell in row.all("td")] for row in grid.all("tr")[1:])
    assert cat == ["0.250 0.250 0.250", "none of its first 10"]
    assert dog == ["0.250 0.250 0.250", "0.125 0.125 0.125"]
    assert "classes as given" in page.text and "classes as predicted" in page.text
    assert f"/samples/nearest/{told.pk}.png" in {
        a.attributes["href"].split("?")[0] for a in grid.all("a")
    }
    assert "features, of" in page.text


def test_the_nearest_images_are_a_picture(client: Client) -> None:
    one, _ = scored([[30, 10]], [[40, 0]])
    reading = kept(one)

    assert client.get(f"/samples/nearest/{reading.pk}.png").getvalue()[:4] == b"\x89PNG"
    reading.path.unlink()
    assert client.get(f"/samples/nearest/{reading.pk}.png").status_code == 404


def test_losses_are_called_as_the_page_of_a_run_calls_them(
    client: Client, static_root: None
) -> None:
    entries = [{"algorithm": "diffusion.ddpm", "label": label} for label in ("one", "other")]
    made = factories.contenders_of(factories.make_experiment(entries=entries))
    for entry in made:
        factories.make_run(entry=entry, status="completed", losses={"mse": 0.1, "mse_q0": 0.5})

    page = get(client, address(made, "&loss=mse_q0"))
    told = client.get(f"/api/v1/compare/curves/?entries={made[0].pk},{made[1].pk}&loss=mse_q0")

    words = "error, lowest quarter of noise"
    assert f"Last {words}" in page.text and "squared error of reconstructions" in page.text
    assert "mse_q0" not in page.text
    assert (told.json()["loss"], told.json()["words"]) == ("mse_q0", words)
    (run,) = made[0].runs.all()
    assert words in get(client, run.get_absolute_url()).text.lower()
