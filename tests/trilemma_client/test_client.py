"""The Python client against a live site: what it submits, reads and asks again for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from knox.models import AuthToken
from pytest_django.live_server_helper import LiveServer

from accounts.models import Role
from experiments.models import Experiment as Submitted
from leaderboards import export
from leaderboards.ranking import rank
from tests import factories
from tests.static import static_root
from tests.trilemma_client.proxies import all_are_answered, proxy
from trilemma_client import Client, TrilemmaError
from trilemma_client.configuration import configuration

__all__ = ["static_root"]


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRILEMMA_URL", "TRILEMMA_TOKEN", "TRILEMMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def token(transactional_db: None) -> str:
    return str(AuthToken.objects.create(factories.make_user(role=Role.ADMIN))[1])


@pytest.fixture
def live(live_server: LiveServer) -> Iterator[LiveServer]:
    """Return a site whose answers have all ended when its database goes."""
    yield live_server
    all_are_answered()


@pytest.fixture
def client(live: LiveServer, token: str) -> Iterator[Client]:
    with Client(live.url, token, retries=2) as made:
        yield made


def test_an_experiment_is_submitted_waited_for_and_read(client: Client, tmp_path: Path) -> None:
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    data = factories.experiment_data(protocol=protocol, seeds=[0, 1])
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(data | {"name": "from a file"}))

    told = client.rehearse(data)
    experiment = client.submit(data)
    others = [client.submit(yaml.safe_dump(data | {"name": "text"})), client.submit(file)]

    assert told["runs"] == 2 and experiment.status == "queued"
    assert [each.name for each in client.experiments()] == [
        "from a file", "text", data["name"],
    ]  # fmt: skip
    with pytest.raises(TimeoutError, match="is queued after 0 s"):
        experiment.wait(timeout_seconds=0, progress=False)
    assert others[0].cancel() > 0 and others[0].wait(progress=False).status == "cancelled"
    (entry,) = factories.contenders_of(Submitted.objects.get(pk=experiment.id))
    factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": 0.1, "recall": 1 / 3}] * 2)
    rows = experiment.leaderboard().rows()
    assert rows == export.to_dict(rank(protocol, experiment=entry.experiment))["rows"]
    board = client.leaderboard(protocol.short, experiment=experiment.id, sort="-fd")
    assert len(board) == len(rows) and board.about["sort"] == "-fd"
    path = client.download("evaluations", tmp_path / "values.csv", experiment=experiment.id)
    assert path.read_bytes().count(b"\r\n") == 1 + 4
    assert not list(tmp_path.glob("*.part"))


def test_what_was_drawn_from_a_run_comes_as_bytes_pictures_and_files(
    client: Client, tmp_path: Path
) -> None:
    sample_set = factories.make_sample_set(files=True)
    assert sample_set.run

    run = next(client.runs(experiment=sample_set.entry.experiment_id))
    samples = client.samples(run)

    assert samples.to_bytes() == sample_set.path.read_bytes()
    assert samples.to_numpy().shape == (len(samples), 8, 8, 1)
    assert {image.size for image in samples.images()} == {(8, 8)}
    paths = samples.save(tmp_path / "images")
    assert len(paths) == len(samples) and paths[0].name == "000000.png"
    with pytest.raises(TrilemmaError, match=r"expected sampler= to be one .*: direct"):
        client.samples(run, sampler="ddim")


def test_a_list_is_read_over_all_its_pages_behind_a_proxy(live: LiveServer) -> None:
    factories.make_experiment(seeds=[0, 1, 2, 3, 4])

    with proxy(live.url) as between, Client(between.address) as client:
        seeds = [run["seed"] for run in client.each("runs", page_size=2)]

    assert seeds == [4, 3, 2, 1, 0] and len(between.seen) == 3


def test_a_submission_whose_answer_was_lost_is_sent_again_and_made_once(
    live: LiveServer, token: str
) -> None:
    data = factories.experiment_data(protocol=factories.make_protocol())

    with proxy(live.url, "busy", "lose", "pass") as between, Client(between.address, token) as it:
        made = it.submit(data)

    assert [fate for _, fate in between.seen] == ["busy", "lose", "pass"]
    assert Submitted.objects.get().pk == made.id


def test_a_refusal_has_the_words_of_the_field(client: Client, live: LiveServer) -> None:
    data = factories.experiment_data(protocol=factories.make_protocol())
    wrong = [{"algorithm": "gan.sngan", "config": {"betta": 1}}]

    with pytest.raises(TrilemmaError, match=r"entries.0.config.betta: unknown field") as refused:
        client.submit(data | {"entries": wrong})
    with pytest.raises(TrilemmaError, match="No Run matches") as missing:
        client.transport.get("runs/99/")
    with Client(live.url) as stranger, pytest.raises(TrilemmaError, match="cred") as nobody:
        stranger.submit(data)

    assert refused.value.errors.keys() == {"entries.0.config.betta"}
    assert [e.value.status for e in (refused, missing, nobody)] == [400, 404, 401]


def test_entries_are_compared_and_searches_and_budgets_told(client: Client) -> None:
    protocol = factories.make_protocol(metrics=["fd", "recall"])
    search = {"options": {"beta": [1, 2]}, "objective": "fd", "trials": 2}
    entries: list[dict[str, Any]] = [
        {"algorithm": "vae.conv", "label": "tuned", "search": search},
        {
            "algorithm": "diffusion.ddpm",
            "samplers": [{"name": "ddim", "steps": 5}, {"name": "ddpm"}],
        },
    ]
    made = factories.make_experiment(protocols=[protocol], entries=entries)
    one, two, ddpm = factories.contenders_of(made)
    for entry, fd in ((one, 2.0), (two, 1.0), (ddpm, 4.0)):
        factories.make_scores(entry=entry, protocol=protocol, values=[{"fd": fd}])
    experiment = client.experiment(made.pk)

    found = client.compare(one.pk, f"{ddpm.pk}:DDIM 5", baseline=f"{ddpm.pk}:DDIM 5")

    assert found["baseline"] == f"{ddpm.pk}:DDIM 5"
    assert [each["id"] for each in found["entries"]] == [one.pk, ddpm.pk]
    [board] = found["boards"]
    assert [cell["value"] for cell in board["metrics"][0]["values"]] == [2.0, 4.0]
    with pytest.raises(TrilemmaError, match="A comparison takes 2 to 10 entries"):
        client.compare(one.pk)
    [told] = experiment.searches()
    assert (told["best"], [each["value"] for each in told["tried"]]) == (2, [2.0, 1.0])
    [budget] = experiment.leaderboard().budgets()["budgets"]
    assert (budget["leaders"][0]["label"], budget["entries"]) == (ddpm.label, 1)


def test_a_site_that_is_not_there_is_named() -> None:
    with pytest.raises(TrilemmaError, match=r"no answer from http://127.0.0.1:9/api/v1/: "):
        list(Client("http://127.0.0.1:9", retries=0).runs())


def test_a_table_without_pandas_says_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    protocol = factories.make_experiment().protocols.get()

    with pytest.raises(TrilemmaError, match="pip install pandas; rows"):
        client.leaderboard(protocol.fingerprint).to_pandas()


def test_arguments_go_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(TrilemmaError, match=r"expected url=, TRILEMMA_URL or .*client\.toml"):
        configuration()
    file = tmp_path / "trilemma" / "client.toml"
    file.parent.mkdir()
    file.write_text('url = "https://lab.org/"\ntoken = "kept"\n')

    assert configuration() == configuration("https://lab.org/api/v1/", "kept")
    assert configuration("https://elsewhere.org").token is None, "it is for the site of the file"
    monkeypatch.setenv("TRILEMMA_URL", "http://here:8000")
    monkeypatch.setenv("TRILEMMA_TOKEN", "set")
    assert (configuration().url, configuration().token) == ("http://here:8000", "set")
    assert configuration("https://lab.org", "given").token == "given"  # noqa: S105  # made up
    file.write_text("url = 3\n")
    with pytest.raises(TrilemmaError, match="expected url and token as text"):
        configuration()
