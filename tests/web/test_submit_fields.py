"""The fields of the submission form: one for each option, errors at them, nothing typed is lost."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEvent, Role, User
from catalog.models import Protocol
from experiments.models import Experiment, Run
from experiments.submission import offered
from experiments.submission.typed import read_seeds
from generators.specs import registry
from generators.specs.options import FieldSpec, describe, to_dict
from tests import factories
from tests.web.forms import ADD, FORM, Form, Typed, filled, open_form, read_form

pytestmark = pytest.mark.django_db
EVERY = "?" + "&".join(f"entry={name}:none" for name in registry.ALGORITHMS)


@pytest.fixture
def protocol(ada: User) -> Protocol:
    """Return a protocol to submit under; a submitter is signed in."""
    return factories.make_protocol(dataset=factories.make_dataset(slug="digits"))


def send(client: Client, typed: Typed) -> str:
    """Return the page that comes back when something was wrong."""
    answer = client.post(FORM, typed)
    assert answer.status_code in (200, 400), "nothing was submitted"
    assert not Experiment.objects.exists()
    return answer.content.decode()


def told(page: str) -> dict[str, str]:
    """Return what the page says at each field that is wrong."""
    return dict(re.findall(r'data-wrong="([^"]+)"[^>]*>([^<]+)<', page))


def test_the_admins_add_leads_to_the_form_and_a_viewer_nowhere(
    client: Client, protocol: Protocol
) -> None:
    for answer in (client.get(ADD), client.post(ADD)):
        assert (answer.status_code, answer["Location"]) == (302, FORM)
    assert f'href="{ADD}"' in client.get("/admin/experiments/experiment/").content.decode()
    client.force_login(factories.make_user(role=Role.VIEWER))
    assert client.get(ADD)["Location"].startswith("/admin/login/")


def test_the_form_is_ready_to_send_with_an_algorithm_of_each_family(
    client: Client, protocol: Protocol
) -> None:
    form = open_form(client, "")
    *trained, elsewhere = [specs[0].name for _, specs in offered.by_family()]

    answer = client.post(FORM, filled(form, name="first"))

    made = Experiment.objects.get(name="first")
    assert [form.values[f"entries.{i}.algorithm"][0] for i in range(3)] == trained
    assert elsewhere == offered.NAME and "entries.3.algorithm" not in form.values
    assert answer["Location"] == made.get_absolute_url()
    assert (made.seeds, list(made.protocols.all())) == ([0], [protocol])
    for entry in factories.contenders_of(made):
        assert entry.config == to_dict(registry.parse_config(entry.algorithm, {}, preset="tiny"))
        default = registry.get_spec(entry.algorithm).default_sampler
        assert [sampler["name"] for sampler in entry.samplers] == [default]


def test_every_option_of_every_algorithm_and_sampler_is_a_field_with_its_bounds(
    client: Client, protocol: Protocol
) -> None:
    page = client.get(FORM + EVERY).content.decode()
    form = read_form(page)

    for place, spec in enumerate(registry.ALGORITHMS.values()):
        base = offered.values(spec.name, form.values.get(f"entries.{place}.preset", [""])[0])
        for option in describe(spec.config):
            check_field(form, page, f"entries.{place}.config.{option.name}", option, base)
        assert form.choices[f"entries.{place}.samplers.0.name"] == list(spec.samplers)


def check_field(form: Form, page: str, name: str, spec: FieldSpec, base: dict[str, Any]) -> None:
    if spec.type == "bool" or spec.choices:
        names = set(spec.choices or ("true", "false"))
        assert form.choices[name][0] == ""
        assert set(form.choices[name][1:]) == names - {str(base[spec.name]).lower()} - {
            str(base[spec.name])
        }
        return
    assert form.values[name] == [""]
    assert form.limits[name].get("placeholder") == (str(base[spec.name]) or "none")
    if spec.type in ("int", "float"):
        about = re.search(f'id="{name.replace(".", "-")}-about">([^<]*)<', page)
        assert about and f"; {spec.minimum:.12g} to {spec.maximum:.12g}; " in about[1]


@pytest.mark.parametrize(
    ("algorithm", "sampler"),
    [(spec.name, name) for spec in registry.ALGORITHMS.values() for name in spec.samplers],
)
def test_a_chosen_sampler_has_its_own_fields_which_may_be_left_empty(
    client: Client, protocol: Protocol, algorithm: str, sampler: str
) -> None:
    typed = filled(open_form(client, f"?entry={algorithm}"), entries__0__samplers__0__name=sampler)

    form = read_form(send(client, typed | {"refresh": ["1"]}))

    fields = {spec.name for spec in describe(registry.get_spec(algorithm).samplers[sampler])}
    shown = {
        n.rpartition(".")[2]: v for n, v in form.values.items() if n.startswith("entries.0.samp")
    }
    assert shown == {"name": [sampler]} | {key: [""] for key in fields}


def test_what_was_typed_is_what_is_submitted(client: Client, ada: User, protocol: Protocol) -> None:
    form = open_form(client, "?entry=vae.conv&entry=diffusion.ddpm")
    form = read_form(send(client, filled(form, add_sampler="1")))
    typed = filled(
        form,
        name=" typed ",
        amount="90.5",
        unit="device_seconds",
        seeds="3, 5",
        memory_gb="24",
        entries__0__label="beta VAE",
        entries__0__config__variant="beta",
        entries__0__config__beta="4e0",
        entries__0__config__horizontal_flip="true",
        entries__1__samplers__0__name="ddim",
        entries__1__samplers__0__steps="10",
        entries__1__samplers__0__eta="0.5",
        entries__1__samplers__1__name="dpmsolver++",
        entries__1__samplers__1__steps="8",
        entries__1__samplers__1__eta="7",  # of the sampler that was chosen before
    )

    client.post(FORM, typed)

    made = Experiment.objects.get(name="typed")
    vae, diffusion = factories.contenders_of(made)
    assert (made.budget_seconds, made.seeds, made.created_by) == (90.5, [3, 5], ada)
    assert (vae.label, vae.config["variant"], vae.config["beta"]) == ("beta VAE", "beta", 4.0)
    assert vae.config["horizontal_flip"] is True
    assert diffusion.sampler_labels == ["DDIM 10 η=0.5", "DPM-Solver++ 8"]
    assert set(Run.objects.values_list("memory_gb", flat=True)) == {24}
    assert Run.objects.count() == 4
    event = AuditEvent.objects.get(action=AuditEvent.Action.SUBMITTED)
    assert (event.actor, event.object_name) == (ada, "typed")


IMAGES = "Expected a whole number of images, 1 to 1,000,000,000,000, got "
SEEDS = "Expected a count of 1 to 100, or a list of different seeds in 0..2147483647, got "


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("name", "", "Expected a name of 1 to 200 characters, got &#x27;&#x27;"),
        ("amount", "0", f"{IMAGES}&#x27;0&#x27;"),
        ("amount", "1.5", f"{IMAGES}&#x27;1.5&#x27;"),
        ("amount", "inf", f"{IMAGES}&#x27;inf&#x27;"),
        ("amount", "1e13", f"{IMAGES}&#x27;1e13&#x27;"),
        ("seeds", "one", f"{SEEDS}&#x27;one&#x27;"),
        ("seeds", f"0 {2**63}", f"{SEEDS}[0, 9223372036854775808]"),
        ("memory_gb", "1.5", "Expected 0 to 10000 GB, got 1.5"),
        ("memory_gb", "much", "Expected 0 to 10000 GB, got &#x27;much&#x27;"),
        ("entries.0.config.beta1", "2", "Expected a number in 0..0.999, got 2"),
        ("entries.0.config.latent_dim", "1.5", "Expected a whole number in 1..4096, got 1.5"),
        ("entries.1.config.variant", "gamma", "Expected one of beta, sigma, got"),
        ("entries.1.preset", "huge", "Expected one of tiny, small, paper, got &#x27;huge&#x27;"),
        ("entries.1.label", "SNGAN", "&#x27;SNGAN&#x27; is taken, expected another"),
        ("entries.2.samplers.0.eta", "x", "Expected a number in 0..1, got &#x27;x&#x27;"),
    ],
)
def test_a_wrong_value_is_shown_at_its_field_and_stays_as_it_was_typed(
    client: Client, protocol: Protocol, field: str, text: str, message: str
) -> None:
    form = open_form(client)
    form.values["entries.2.samplers.0.name"] = ["ddim"]
    form = read_form(send(client, filled(form, name="wrong", refresh="1")))
    typed = {**form.values, field: [text]}

    page = send(client, typed)

    ((place, said),) = told(page).items()
    assert place == field.replace(".", "-")
    assert said.startswith(message) and said.endswith(".")
    shown = read_form(page).values
    if field not in form.choices:  # a select cannot show what it lacks
        typed.pop("csrfmiddlewaretoken"), shown.pop("csrfmiddlewaretoken"), shown.pop("marked")
        assert shown == typed


def test_a_sampler_that_is_there_twice_is_refused(client: Client, protocol: Protocol) -> None:
    form = read_form(send(client, filled(open_form(client), add_sampler="2")))
    names = {f"entries.2.samplers.{i}.name": ["ddim"] for i in range(2)}

    page = send(client, filled(form, name="x") | names)

    assert "DDIM 50 is there already." in page
    assert '<a href="#entry-2">' in page


def test_everything_that_is_wrong_is_shown_at_once(client: Client, protocol: Protocol) -> None:
    typed = filled(
        open_form(client),
        entries__0__config__beta1="2",
        entries__1__config__beta="-1",
        seeds="0",
    )

    page = send(client, typed)

    assert told(page).keys() == {
        *("name", "seeds", "entries-0-config-beta1", "entries-1-config-beta")
    }
    assert re.search(r'id="name"[^>]*autofocus', page)


@pytest.mark.parametrize("field", ["name", "tags", "entries.0.label", "entries.0.config.beta1"])
def test_text_with_a_nul_is_refused_and_nothing_is_left_out_silently(
    client: Client, protocol: Protocol, field: str
) -> None:
    page = send(client, filled(open_form(client), name="nul") | {field: ["a\0b"]})

    assert told(page).keys() == {field.replace(".", "-")}


def test_protocols_of_another_dataset_and_of_two_rules_of_labels_are_refused(
    client: Client, protocol: Protocol
) -> None:
    other = factories.make_protocol(dataset=factories.make_dataset(slug="letters"))
    ruled = factories.make_protocol(
        dataset=protocol.dataset, class_counts=[20] * 10, labels="uniform"
    )
    form = open_form(client, "?dataset=digits")

    def sent(*chosen: Protocol) -> str:
        page = send(client, filled(form, name="x", protocols=[p.fingerprint for p in chosen]))
        return told(page)["protocols"]

    assert "labels in turn over the model&#x27;s classes" in client.get(FORM).content.decode()
    assert "measures letters, not digits" in sent(other)
    assert "expected one rule, as all protocols score the same samples" in sent(protocol, ruled)


def test_no_protocol_and_no_entry_are_refused(client: Client, protocol: Protocol) -> None:
    form = open_form(client)
    typed = {name: text for name, text in filled(form, name="x").items() if "." not in name}
    del typed["protocols"]

    assert told(send(client, typed)) == {
        "protocols": "Tick at least one protocol.",
        "entries": "Add at least one entry.",
    }


def test_a_dataset_can_be_chosen_by_the_address(client: Client, protocol: Protocol) -> None:
    factories.make_protocol(dataset=factories.make_dataset(slug="letters"))

    form = open_form(client, "?dataset=digits")

    assert form.values["dataset"] == ["digits"]
    assert form.values["protocols"] == [protocol.fingerprint]


@pytest.mark.usefixtures("ada")
def test_without_a_dataset_the_page_says_what_to_do(client: Client) -> None:
    page = client.get(FORM).content.decode()

    assert 'href="/submit/dataset/"' in page and 'href="/submit/protocol/"' in page


@pytest.mark.parametrize(
    "typed",
    [
        {},
        {"entries.999.algorithm": "vae.conv"},
        {"entries.0.algorithm": "gan.other"},
        {"entries.0.config.beta": "1"},
        {"experiment": "x", "entries.0.algorithm": "pipeline"},
    ],
)
def test_what_this_form_never_sends_submits_nothing(
    client: Client, protocol: Protocol, typed: dict[str, str]
) -> None:
    assert client.post(FORM, typed).status_code == 400
    assert not Experiment.objects.exists()


def test_many_entries_are_folded_but_those_that_need_an_eye(
    client: Client, protocol: Protocol
) -> None:
    def unfolded(page: str) -> list[str]:
        return re.findall(r'submit-entry" id="entry-(\d+)" open', page)

    four = client.get(f"{FORM}?{'&'.join(['entry=vae.conv'] * 4)}").content.decode()
    typed = filled(read_form(four), name="x")

    assert unfolded(client.get(FORM).content.decode()) == ["0", "1", "2"]
    assert unfolded(four) == []
    one_more = {**typed, "add_entry": ["1"], "add_algorithm": ["vae.conv"]}
    assert unfolded(send(client, one_more)) == ["4"]
    assert unfolded(send(client, {**typed, "entries.2.config.beta": ["x"]})) == ["2"]


def test_enter_in_a_field_checks_and_does_not_remove_an_entry(
    client: Client, protocol: Protocol
) -> None:
    assert open_form(client).buttons[0] == ("refresh", "1")


def test_a_pipeline_has_fields_of_its_own_and_errors_at_them(
    client: Client, protocol: Protocol
) -> None:
    form = open_form(client, "?entry=pipeline")
    typed = filled(
        form,
        name="theirs",
        entries__0__pipeline="../etc",
        entries__0__samplers__0__scheduler="DDIMScheduler",
        entries__0__samplers__0__steps="x",
        entries__0__samplers__0__negative_prompt="a dog",
    )

    page = send(client, typed)

    assert told(page) == {
        "entries-0-pipeline": "Expected the name of a folder of the storage, got &#x27;../etc&#x27;.",
        "entries-0-samplers-0-steps": "Expected a whole number in 0..10000, got &#x27;x&#x27;.",
    }
    assert read_form(page).values["entries.0.samplers.0.negative_prompt"] == ["a dog"]


HUBS = {"entries.0.pipeline": ["us/tiny"], "entries.0.revision": ["0" * 40]}


def test_a_hubs_pipeline_is_submitted_without_a_budget(client: Client, protocol: Protocol) -> None:
    typed = HUBS | filled(
        open_form(client, "?entry=pipeline"),
        name="theirs",
        entries__0__label="Theirs",
        entries__0__samplers__0__scheduler="DDIMScheduler",
        entries__0__samplers__0__steps="4",
        entries__0__samplers__0__guidance="1, 3",
        entries__0__samplers__0__negative_prompt="a dog",
    )

    assert client.post(FORM, typed | HUBS).status_code == 302

    entry = Experiment.objects.get().entries.get(kind="pipeline")
    assert (entry.label, entry.experiment.budget) == ("Theirs", "")
    assert entry.config["revision"] == "0" * 40
    labels = list(entry.sample_sets.values_list("sampler_label", flat=True))
    assert labels == ["DDIM 4 w=1 not 'a dog'", "DDIM 4 w=3 not 'a dog'"]


def test_a_pipeline_joins_an_experiment_of_the_account(
    client: Client, protocol: Protocol, ada: User
) -> None:
    experiment = factories.make_experiment(protocols=[protocol], user=ada)
    address = f"{FORM}?experiment={experiment.pk}"
    assert f'href="{address}"' in client.get(experiment.get_absolute_url()).content.decode()
    page = client.get(address).content.decode()
    form = read_form(page)
    assert form.values["experiment"] == [str(experiment.pk)]
    assert form.values["entries.0.algorithm"] == ["pipeline"]
    assert page.count('card" hidden>') == 2  # what the experiment has already
    assert told(page) == {}  # nothing is said of what nobody has typed yet

    wrong = client.post(FORM, form.values | HUBS | {"entries.0.revision": ["main"]})
    checked = client.post(f"{FORM}check/", form.values | HUBS).content.decode()
    answer = client.post(FORM, form.values | HUBS)

    assert told(wrong.content.decode()).keys() == {"entries-0-revision"}
    seeds = len(experiment.seeds)
    assert f"1 entry × {seeds} seed" in checked
    assert answer["Location"] == experiment.get_absolute_url()
    assert experiment.entries.get(kind="pipeline").config["pipeline"] == "us/tiny"
    assert Experiment.objects.count() == 1


def test_what_is_trained_and_what_is_somebody_elses_joins_nothing(
    client: Client, protocol: Protocol
) -> None:
    theirs = factories.make_experiment(protocols=[protocol], user=factories.make_user())
    page = client.get(f"{FORM}?experiment={theirs.pk}").content.decode()
    form = read_form(page)

    trained = open_form(client, f"?experiment={theirs.pk}&entry=vae.conv")
    sent = client.post(FORM, trained.values)
    refused = client.post(FORM, form.values | {"experiment": [str(theirs.pk)]} | HUBS)

    assert told(page)["experiment"] == "Expected an experiment of yours."
    assert "experiment" not in open_form(client, "").values
    assert sent.status_code == 400
    assert refused.status_code == 403
    assert not theirs.entries.filter(kind="pipeline").exists()


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", 3),
        (" 3 ", 3),
        ("0, 1, 7", [0, 1, 7]),
        ("4 5", [4, 5]),
        ("7,", [7]),
        ("", ""),
        ("x", "x"),
        ("1 x", "1 x"),
        ("-1", -1),
        ("1e1, 2.0", [10, 2]),
        ("1.5", "1.5"),
        ("٣", "٣"),
    ],
)
def test_seeds_are_a_count_or_a_list(text: str, seeds: int | list[int] | str) -> None:
    assert read_seeds(text) == seeds
