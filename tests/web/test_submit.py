"""The page that submits experiments: the same as YAML, errors at their fields, clones, grids, costs."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from django.http import QueryDict
from django.test import Client

from accounts.models import Role
from catalog.models import Protocol
from experiments.models import Experiment
from experiments.services import submit_data
from experiments.submission.plain import read_yaml
from experiments.submission.record import record_of
from jobs.models import Status
from tests import factories
from tests.web import html
from tests.web.forms import read_form
from web.submit.draft import typed

pytestmark = pytest.mark.django_db
FORM = "/submit/experiment/"
RICH: list[dict[str, Any]] = [
    {
        "algorithm": "vae.conv",
        "label": "β-VAE",
        "preset": "tiny",
        "config": {"variant": "beta", "beta": 4.0},
    },
    {
        "algorithm": "diffusion.ddpm",
        "preset": "tiny",
        "config": {"label_dropout": 0.1, "horizontal_flip": True},
        "samplers": [
            {"name": "ddim", "steps": 20, "guidance": [1, 2]},
            {"name": "ddpm", "variance": "large"},
        ],
    },
    {"algorithm": "gan.sngan", "label": "all of it my own", "config": {"batch_size": 17}},
]


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(dataset=factories.make_dataset(slug="digits"))


Typed = dict[str, list[str]]


def opened(client: Client, **query: Any) -> Typed:
    """Return what a browser would send of the form at an address."""
    answer = client.get(f"{FORM}?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200
    return dict(read_form(answer.content.decode()).values)


def send(client: Client, typed: Typed, **changes: Any) -> Any:
    return client.post(
        FORM, typed | {name.replace("__", "."): text for name, text in changes.items()}
    )


def told(page: str) -> dict[str, str]:
    """Return what the page says at each field that is wrong."""
    found = re.findall(r'data-wrong="([^"]+)"[^>]*>([^<]+)<', page)
    return dict(found)


def spec_of(experiment: Experiment) -> dict[str, Any]:
    return {name: part for name, part in record_of(experiment).items() if name != "name"}


@pytest.mark.usefixtures("ada")
def test_the_form_submits_what_the_yaml_it_shows_would(client: Client, protocol: Protocol) -> None:
    data = factories.experiment_data(protocol=protocol, entries=RICH, seeds=[3, 5], memory_gb=2)
    by_yaml = submit_data(data, user=None)
    typed = opened(client, spec=yaml.safe_dump({**data, "name": "typed"}))
    page = client.post(f"{FORM}check/", typed).content.decode()
    shown = re.search("<pre[^>]*><code>(.*?)</code>", page, re.DOTALL)

    answer = send(client, typed)

    made = Experiment.objects.get(name="typed")
    assert answer["Location"] == made.get_absolute_url()
    assert spec_of(made) == spec_of(by_yaml)
    assert shown is not None
    again = read_yaml(unescape(shown[1])) | {"name": "as shown"}
    assert spec_of(submit_data(again, user=None)) == spec_of(by_yaml)


@pytest.mark.usefixtures("ada")
def test_a_clone_that_nobody_edits_is_the_same_under_another_name(
    client: Client, protocol: Protocol
) -> None:
    first = factories.make_experiment(
        name="first", protocols=[protocol], entries=RICH, budget={"device_seconds": 90}
    )
    assert f"{FORM}?from={first.pk}" in client.get(first.get_absolute_url()).content.decode()
    typed = opened(client, **{"from": first.pk})

    send(client, typed)

    clone = Experiment.objects.get(name="first (2)")
    assert spec_of(clone) == spec_of(first)
    assert typed["entries.0.preset"] == ["tiny"]
    assert typed["entries.0.config.beta"] == ["4.0"]
    assert typed["entries.0.config.latent_dim"] == [""]


@pytest.mark.usefixtures("ada")
def test_the_form_begins_small_and_an_address_fills_it(client: Client, protocol: Protocol) -> None:
    plain = opened(client)
    asked = opened(
        client, dataset="digits", protocol=protocol.short, entry=["vae.conv:small", "gan.sngan"],
        device_seconds=60, seeds="1, 2",
    )  # fmt: skip

    assert [plain[f"entries.{i}.preset"] for i in range(3)] == [["tiny"]] * 3
    assert (plain["dataset"], plain["protocols"]) == (["digits"], [protocol.fingerprint])
    assert (asked["unit"], asked["amount"], asked["seeds"]) == (
        ["device_seconds"],
        ["60"],
        ["1, 2"],
    )
    assert [asked[f"entries.{i}.preset"] for i in range(2)] == [["small"], ["tiny"]]
    assert send(client, asked, name="asked").status_code == 302
    for wrong in ("spec=-", "from=999", "from=x", "spec=name:%20[", "entry=nothing"):
        assert client.get(f"{FORM}?{wrong}").status_code == 200


@pytest.mark.usefixtures("ada")
def test_a_protocol_whose_test_failed_is_not_ticked_and_says_why(
    client: Client, protocol: Protocol
) -> None:
    failed = {"passed": False, "reasons": ["noise looks better than images"], "count": 1}
    worse = factories.make_protocol(dataset=protocol.dataset, facts={"admission": failed})

    page = client.get(FORM).content.decode()

    assert read_form(page).values["protocols"] == [protocol.fingerprint]
    assert worse.fingerprint in page and "noise looks better than images" in page


@pytest.mark.usefixtures("ada")
def test_a_protocol_with_too_few_images_leads_to_one_that_ranks(client: Client) -> None:
    few = {"fd": "FD: 120 scored images are fewer than 320"}
    record = {"passed": False, "reasons": [], "unranked": few, "count": 1}
    factories.make_protocol(
        dataset=factories.make_dataset(slug="photos", train_size=480),
        num_images=120,
        facts={"admission": record},
    )

    page = html.get(client, FORM)
    (link,) = [a for a in page.all("a") if a.text.startswith("Ask for one that scores")]
    form = html.get(client, link.attributes["href"])

    assert "no ranks: FD: 120 scored images" in page.text
    assert form.one("input", name="num_images").attributes["value"] == link.text.split()[5]
    assert form.one("option", value="photos").attributes.get("selected") == ""


@pytest.mark.usefixtures("ada")
def test_what_is_wrong_stands_at_its_field_in_the_forms_own_words(
    client: Client, protocol: Protocol
) -> None:
    factories.make_experiment(name="taken", protocols=[protocol])
    typed = opened(client, entry=["vae.conv", "diffusion.ddpm"])
    right = {**typed, "name": ["x"]}
    cases: list[tuple[Typed, str, str]] = [
        ({"name": [""]}, "name", "Expected"),
        ({"name": ["taken"]}, "name", "another experiment has this name"),
        ({"amount": ["many"]}, "amount", "Expected a whole number of images"),
        ({"unit": ["device_seconds"], "amount": ["0"]}, "amount", "Expected 1 to"),
        ({"seeds": ["1, 1"]}, "seeds", "Expected a count of 1 to 100"),
        ({"memory_gb": ["-1"]}, "memory_gb", "Expected 0 to 10000"),
        ({"protocols": []}, "protocols", "Tick at least one protocol."),
        ({"entries.0.label": ["x" * 101]}, "entries-0-label", "Expected"),
        ({"entries.0.config.beta": ["x"]}, "entries-0-config-beta", "Expected a number"),
        ({"entries.0.config.beta": ["1, x"]}, "entries-0-config-beta", "Expected"),
        ({"entries.0.config.beta": ["9..1"]}, "entries-0-config-beta", "Expected"),
        ({"entries.1.samplers.0.steps": ["0.5"]}, "entries-1-samplers-0-steps", "Expected"),
    ]
    for change, field, words in cases:
        answer = send(client, right | change)

        wrong = told(page := answer.content.decode())
        assert answer.status_code == 400 and list(wrong) == [field]
        assert wrong[field].lower().startswith(words.lower())
        assert f'href="#{field}"' in page
        assert re.search(rf'id="{field}"[^>]*autofocus', page) or field == "protocols"
        for name, text in change.items():
            assert read_form(page).values.get(name, []) == text
    assert Experiment.objects.count() == 1


@pytest.mark.usefixtures("ada")
def test_buttons_change_the_entries_and_keep_what_was_typed(
    client: Client, protocol: Protocol
) -> None:
    typed = opened(client, entry=["vae.conv", "diffusion.ddpm"]) | {"entries.0.config.beta": ["3"]}

    def pressed(**button: str) -> Typed:
        return dict(read_form(send(client, typed, **button).content.decode()).values)

    added = pressed(add_entry="1", add_algorithm="gan.sngan")
    assert added["entries.2.algorithm"] == ["gan.sngan"]
    assert added["entries.0.config.beta"] == ["3"]
    copied = pressed(copy_entry="0")
    assert copied["entries.1.config.beta"] == ["3"]
    assert copied["entries.1.label"] != copied["entries.0.label"]
    assert pressed(remove_entry="0")["entries.0.algorithm"] == ["diffusion.ddpm"]
    more = pressed(add_sampler="1")
    assert "entries.1.samplers.1.name" in more
    typed = more
    assert "entries.1.samplers.1.name" not in pressed(remove_sampler="1.0")
    assert not Experiment.objects.exists()


@pytest.mark.usefixtures("ada")
def test_checking_while_typing_tells_errors_costs_and_entries_of_a_range(
    client: Client, protocol: Protocol
) -> None:
    worker = factories.make_worker(host="gpu-1", device="H200")
    past = factories.make_experiment(
        protocols=[protocol], entries=[{"algorithm": "vae.conv", "preset": "tiny"}]
    )
    (entry,) = factories.contenders_of(past)
    factories.make_run(entry=entry, status=Status.COMPLETED, worker=worker, device_seconds=10)
    typed = opened(client, entry="vae.conv", images=42_000)

    def check(**changes: Any) -> str:
        sent = typed | {name.replace("__", "."): text for name, text in changes.items()}
        return client.post(f"{FORM}check/", sent).content.decode()

    assert "about" not in check() and told(check()) == {}  # nothing is said of an empty name
    assert told(check(entries__0__config__beta="x")).keys() == {"entries-0-config-beta"}
    cleared = check(name="n", marked="entries-0-config-beta")
    assert 'id="entries-0-config-beta-wrong"' in cleared and told(cleared) == {}
    page = check(name="n", entries__0__config__beta="1, 2")
    assert "2 entries × 1 seed: 2 runs" in page
    assert "about 14 min on gpu-1 (H200), from 2 runs" in page


def test_only_who_may_submit_sees_the_form(client: Client, protocol: Protocol) -> None:
    assert client.get(FORM).status_code == 302
    client.force_login(factories.make_user(role=Role.VIEWER))
    assert client.get(FORM).status_code == 403
    assert client.post(f"{FORM}check/").status_code == 403


@pytest.mark.parametrize(
    "spec",
    [
        "entries: 3",
        "entries: [{algorithm: vae.conv, samplers: [3], preset: nope, grid: {beta: {a: 1}, x: 2}}]",
        "{budget: [1], protocols: {a: 1}, name: [1], dataset: {a: 1}, seeds: {a: 1}}",
    ],
)
@pytest.mark.usefixtures("ada", "protocol")
def test_a_submission_in_an_address_that_is_wrong_is_shown_with_what_is_wrong(
    client: Client, spec: str
) -> None:
    page = client.get(FORM, {"spec": spec})

    assert page.status_code == 200
    assert 'role="alert"' in page.content.decode()


def test_a_nul_is_read_as_text_that_could_not_be_read() -> None:
    draft = typed(QueryDict("experiment=a%00b&protocols=%00&entries.0.algorithm=vae.conv"))

    assert (draft["experiment"], draft["protocols"]) == ("a\ufffdb", ["\ufffd"])
