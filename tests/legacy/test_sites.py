"""A site that an earlier Trilemma left is put in place, shows what it showed and scores the same."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.legacy import facts, sites
from tests.site import Site

FINGERPRINT = "137601e1f576ac728ef231fb64f4d84d394562e62285805e7336592edf153bc0"  # the classifier's


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Yield the site, served."""
    with closing(Site(tmp_path_factory.mktemp("left"))) as left:
        sites.unpack(left)
        left.start_web()
        yield left


@pytest.fixture(scope="module")
def then() -> dict[str, Any]:
    return facts.frozen("site")


def test_its_boards_and_rows_are_those_of_then(site: Site, then: dict[str, Any]) -> None:
    changed = facts.changes(then["answers"], sites.answers(site))

    assert not changed, "the site answers otherwise:\n" + "\n".join(changed)


def test_a_board_of_then_has_ranks_and_the_cancelled_seed(then: dict[str, Any]) -> None:
    rows = then["answers"][f"/api/leaderboards/{FINGERPRINT}/"]["rows"]

    ranked = {row["entry"]: (row["rank"], row["seeds_scored"], row["seeds_total"]) for row in rows}
    assert ranked["VAE, one of two seeds cancelled"][1:] == (1, 2)
    assert {row["protocol"] for row in rows} == {FINGERPRINT}
    assert {row["control_kind"] for row in rows} == {"", "test", "copy", "noise", "blur"}


def test_every_page_of_then_is_shown(site: Site, then: dict[str, Any]) -> None:
    assert f"/leaderboards/{FINGERPRINT}/" in then["pages"]
    for page in then["pages"]:
        assert site.read(page), page  # raises unless the status is 200


def test_its_files_are_whole(site: Site) -> None:
    site.manage("verify_files")


@pytest.mark.slow
def test_its_protocol_registered_again_is_the_same(site: Site) -> None:
    done = site.manage("register_protocol", "digits", *sites.CLASSIFIER)

    assert done.stdout.startswith("registered already:")
    assert done.stdout.split()[-1] == FINGERPRINT


@pytest.mark.slow
def test_its_samples_have_the_scores_that_they_had(
    site: Site, then: dict[str, Any], tmp_path: Path
) -> None:
    (dataset,), (extractor,) = (
        list((site.data / name).iterdir()) for name in ("datasets", "extractors")
    )
    evaluation = next(
        found
        for found in then["answers"]["/api/evaluations/"]["results"]
        if found["protocol"] == FINGERPRINT and found["label"] == "GAN"
    )
    (samples,) = (site.data / "samples").glob(f"{evaluation['sample_set']}-*.npz")

    site.run(
        *("-m", "evaluation", "score", str(samples), "--reference", str(dataset / "train.npz")),
        *("--held-out", str(dataset / "test.npz"), "--extractor", "dataset-classifier"),
        *("--weights", str(extractor), "--cache", str(tmp_path / "cache"), "--device", "cpu"),
        *("--metrics", ",".join(value["metric"] for value in evaluation["values"])),
        *("--json", str(tmp_path / "result.json")),
    )

    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["fingerprint"] == FINGERPRINT
    for value in evaluation["values"]:
        found = result["metrics"][value["metric"]]["value"]
        assert found == pytest.approx(value["value"], rel=1e-4, abs=1e-6), value["metric"]
