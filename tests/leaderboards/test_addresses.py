"""What stands in the address of a board's page, and what is refused there by its name."""

from typing import Any

import pytest
from django.test import Client

from catalog.models import Protocol
from experiments.models import Evaluation
from tests import factories

pytestmark = pytest.mark.django_db
LABELS = ("a", "b", "c", "d", "e")


@pytest.fixture
def protocol() -> Protocol:
    """Return a protocol with an experiment of five entries, FD 1 to 5."""
    protocol = factories.make_protocol(metrics=["fd", "recall"], num_images=20)
    entries = [{"algorithm": "vae.conv", "label": label} for label in LABELS]
    experiment = factories.make_experiment(protocols=[protocol], entries=entries)
    for place, entry in enumerate(factories.contenders_of(experiment)):
        values = [{"fd": 1.0 + place, "recall": 0.5}]
        factories.make_scores(entry=entry, protocol=protocol, values=values)
    return protocol


def refusal(address: str) -> str:
    """Return what is said of an address that a page refuses."""
    answer = Client().get(address)
    assert answer.status_code == 404, address
    return answer.content.decode()


def test_a_parameter_that_is_not_read_is_refused_by_its_name(protocol: Protocol) -> None:
    said = {
        "familly=gan": "familly: unknown parameter, did you mean",
        "fd_mim=1": "fd_mim: unknown parameter, did you mean",
        "foo_min=1": "foo_min: unknown parameter",
        "ordering=fd": "ordering: unknown parameter",
        "family=gan&family=vae": "family: expected once, got 2 times",
    }
    board = f"leaderboards/{protocol.fingerprint}/"
    for typo, words in said.items():
        assert words in refusal(f"/{board}?{typo}")
        for kind in ("", "&format=csv"):
            told = Client().get(f"/api/v1/{board}?{typo}{kind}")
            assert told.status_code == 400, typo
            assert told.json()["errors"].keys() == {typo.split("=")[0]}


def test_what_a_page_sends_itself_is_read(protocol: Protocol) -> None:
    asked = "columns=fd&columns=recall&sort=-fd&fd_min=1&text=&since=&page=1&group=none"

    found = Client().get(f"/leaderboards/{protocol.fingerprint}/?{asked}")

    assert found.status_code == 200


def test_lists_refuse_what_they_do_not_read(protocol: Protocol) -> None:
    board = f"leaderboards/{protocol.fingerprint}"
    for address in ("leaderboards/?pag=2", f"{board}/budgets/?b=images", "experiments/?statu=x"):
        assert "unknown parameter, " in refusal(f"/{address}")
    for address in ("leaderboards/?foo_min=1", f"{board}/budgets/?fd_min=1"):
        assert Client().get(f"/api/v1/{address}").status_code == 400
    assert "basline: unknown parameter, did you mean" in refusal("/compare/?entries=1&basline=2")
    experiment = protocol.experiments.latest("pk")
    told = refusal(f"/experiments/{experiment.pk}/?family=gan")
    assert "family: unknown parameter, expected one of: seed, sort, protocol, page" in told
    assert "status: expected one of queued, running" in refusal("/experiments/?status=done")


def test_a_page_of_another_size_leads_on_in_that_size(protocol: Protocol) -> None:
    address = f"/leaderboards/{protocol.fingerprint}/"
    found: Any = Client().get(address, {"page_size": "2"})
    in_file = Client().get(found.context["table"].csv_link).getvalue().decode().splitlines()[1:]
    assert f"2 of {len(in_file)} rows · all as <a" in found.content.decode()

    seen = []
    for _ in range(10):
        labels = [shown.row.entry.label for shown in found.context["table"].rows]
        seen += [label for label in labels if label in LABELS]
        if not (after := found.context["pages"].after):
            break
        found = Client().get(address + after)

    assert tuple(seen) == LABELS


def test_a_page_behind_the_last_says_so_and_leads_to_the_last(protocol: Protocol) -> None:
    address = f"/leaderboards/{protocol.fingerprint}/"

    for page in ("2", "99"):
        found: Any = Client().get(address, {"page": page})
        total = found.context["pages"].total
        assert f"None of {total} rows is on this page" in found.content.decode()
        assert found.context["pages"].left_out == total > 5
        before: Any = Client().get(address + found.context["pages"].before)
        assert (before.context["pages"].first, before.context["pages"].last) == (1, total)


def test_a_beginning_of_a_fingerprint_leads_to_the_protocol(protocol: Protocol) -> None:
    other, begin = factories.make_protocol(name="another"), protocol.fingerprint[:8]
    for address in ("leaderboards/{}/", "leaderboards/{}/budgets/", "protocols/{}/"):
        assert Client().get("/" + address.format(begin)).context["protocol"] == protocol
        assert "begins with 00000000" in refusal("/" + address.format("0" * 8))
        refusal("/" + address.format(begin[:7]))

    def count(address: str) -> int:
        return int(Client().get(f"/api/v1/{address}").json()["count"])

    assert count(f"experiments/?protocol={begin}") == 1
    assert count(f"experiments/?protocol={begin[:7]}") == 0
    assert count(f"experiments/?protocol={other.fingerprint[:8]}") == 0
    assert count(f"evaluations/?protocol={begin}") == Evaluation.objects.count() > 0


def test_an_experiments_part_of_a_board_is_on_its_page(protocol: Protocol) -> None:
    experiment = protocol.experiments.latest("pk")
    board = f"/leaderboards/{protocol.fingerprint}/"

    found = Client().get(board, {"experiment": str(experiment.pk), "sort": "recall"})

    assert found["Location"] == f"/experiments/{experiment.pk}/?sort=recall"
    for wrong in ("7777777", "x", "²", "9" * 40):
        assert "experiment: expected the id" in refusal(f"{board}?experiment={wrong}")
