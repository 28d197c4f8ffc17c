"""The submission form: real fields, errors at their field, nothing that was typed is lost."""

from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import Role, User
from catalog.models import Protocol
from experiments.forms import sampler_words
from experiments.models import Experiment, Run
from experiments.submission import offered
from experiments.submission.typed import read_sampler, read_seeds
from generators.specs import registry
from generators.specs.options import FieldSpec, describe
from tests import factories
from tests.admin.pages import ADD, THREE, Form, Typed, filled, open_form, read_form

DDPM = registry.get_spec("diffusion.ddpm")
DDIM_FIELDS = [field.name for field in describe(DDPM.samplers["ddim"])]


def send(admin: Client, typed: Typed) -> str:
    """Return the page that comes back when something was wrong."""
    response = admin.post(ADD, typed)
    assert response.status_code == 200, "nothing was submitted"
    assert not Experiment.objects.exists()
    return response.content.decode()


def test_the_form_is_ready_to_send_with_an_algorithm_of_each_family(
    admin: Client, protocol: Protocol
) -> None:
    form = open_form(admin, "")

    assert form.values["dataset"] == ["digits"]
    assert form.values["protocols"] == [protocol.fingerprint]
    *trained, elsewhere = [specs[0].name for _, specs in offered.by_family()]
    assert [form.values[f"entries-{i}-algorithm"][0] for i in range(3)] == trained
    assert form.values["entries-TOTAL"] == ["3"] and elsewhere == offered.NAME
    assert all(form.values[f"entries-{i}-include"] == ["on"] for i in range(3))


def test_the_rule_of_labels_is_shown_and_two_rules_are_refused_at_the_protocols(
    admin: Client, protocol: Protocol
) -> None:
    ruled = factories.make_protocol(
        dataset=protocol.dataset, class_counts=[20] * 10, labels="uniform"
    )
    form = open_form(admin)

    page = send(admin, filled(form, name="x", protocols=[protocol.fingerprint, ruled.fingerprint]))

    assert "images, labels in turn over the model&#x27;s classes</span>" in page
    assert "images, labels in equal shares of the reference&#x27;s 10 classes</span>" in page
    assert f"{ruled.label} draws labels in equal shares" in page
    assert "expected one rule, as all protocols score the same samples" in page


def test_every_field_of_a_configuration_is_a_real_field_with_its_default_and_limits(
    admin: Client, protocol: Protocol
) -> None:
    form = open_form(admin, "?" + urlencode({"algorithm": list(registry.ALGORITHMS)}, doseq=True))

    for index, algorithm in enumerate(registry.ALGORITHMS.values()):
        for spec in describe(algorithm.config):
            check_field(form, f"entries-{index}-config-{spec.name}", spec)


def check_field(form: Form, name: str, spec: FieldSpec) -> None:
    if spec.type == "bool":
        assert form.values.get(name, []) == (["on"] if spec.default else [])
        return
    assert form.values[name] == [str(spec.default)]
    if spec.choices:
        assert form.choices[name] == list(spec.choices)
    elif spec.type == "str":
        assert form.limits[name]["type"] == "text"
    else:
        control = form.limits[name]
        assert control["type"] == "number"
        assert float(control["min"] or "nan") == spec.minimum
        assert float(control["max"] or "nan") == spec.maximum
        assert control["step"] == ("1" if spec.type == "int" else "any")


def test_the_form_as_it_is_submits_the_defaults(admin: Client, protocol: Protocol) -> None:
    response = admin.post(ADD, filled(open_form(admin), name="first"))

    experiment = Experiment.objects.get(name="first")
    assert response.status_code == 302
    assert response["Location"] == experiment.get_absolute_url()
    assert (experiment.budget_images, experiment.seeds) == (100_000, [0])
    assert list(experiment.protocols.all()) == [protocol]
    for entry in factories.contenders_of(experiment):
        spec = registry.get_spec(entry.algorithm)
        assert entry.config == {field.name: field.default for field in describe(spec.config)}
        assert [sampler["name"] for sampler in entry.samplers] == [spec.default_sampler]


def test_what_was_typed_is_what_is_submitted(admin: Client, root: User, protocol: Protocol) -> None:
    form = open_form(admin)
    del form.values["entries-0-include"]  # no GAN
    typed = filled(
        form,
        name=" typed ",
        budget_amount="90.5",
        budget_unit="device_seconds",
        seeds="3, 5",
        memory_gb="24",
        entries__1__label="beta VAE",
        entries__1__config__variant="beta",
        entries__1__config__beta="4e0",
        entries__1__config__horizontal_flip="on",
        entries__2__samplers="ddim steps=10 eta=0.5\n\n dpmsolver++ steps=8",
        entries__2__config__timesteps="",
    )

    admin.post(ADD, typed)

    experiment = Experiment.objects.get(name="typed")
    assert (experiment.budget_seconds, experiment.seeds) == (90.5, [3, 5])
    assert experiment.created_by == root
    vae, diffusion = factories.contenders_of(experiment)
    assert (vae.label, vae.config["variant"], vae.config["beta"]) == ("beta VAE", "beta", 4.0)
    assert vae.config["horizontal_flip"] is True
    assert diffusion.config["timesteps"] == 1000
    assert diffusion.sampler_labels == ["DDIM 10 η=0.5", "DPM-Solver++ 8"]
    assert set(Run.objects.values_list("memory_gb", flat=True)) == {24}
    assert Run.objects.count() == 4
    assert LogEntry.objects.get().object_repr == "typed"


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("name", "", "expected a name of 1 to 200 characters, got &#x27;&#x27;"),
        (
            "budget_amount",
            "0",
            "expected a whole number of 1 to 1,000,000,000,000, got &#x27;0&#x27;",
        ),
        (
            "budget_amount",
            "1.5",
            "expected a whole number of 1 to 1,000,000,000,000, got &#x27;1.5&#x27;",
        ),
        (
            "budget_amount",
            "inf",
            "expected a whole number of 1 to 1,000,000,000,000, got &#x27;inf&#x27;",
        ),
        (
            "budget_amount",
            "many",
            "expected a whole number of 1 to 1,000,000,000,000, got &#x27;many&#x27;",
        ),
        (
            "seeds",
            "one",
            "expected a count of 1 to 100, or a list of different seeds in 0..2147483647, got &#x27;one&#x27;",
        ),
        (
            "seeds",
            "1, 1",
            "expected a count of 1 to 100, or a list of different seeds in 0..2147483647, got [1, 1]",
        ),
        ("budget_amount", "1e13", "of 1 to 1,000,000,000,000, got &#x27;1e13&#x27;"),
        (
            "seeds",
            f"0 {2**63}",
            "or a list of different seeds in 0..2147483647, got [0, 9223372036854775808]",
        ),
        ("memory_gb", "1.5", "expected 0 to 10000 GB, got &#x27;1.5&#x27;"),
        ("memory_gb", "much", "expected 0 to 10000 GB, got &#x27;much&#x27;"),
        ("entries-0-config-beta1", "2", "expected a number in 0..0.999, got &#x27;2&#x27;"),
        (
            "entries-0-config-latent_dim",
            "1.5",
            "expected a whole number in 1..4096, got &#x27;1.5&#x27;",
        ),
        (
            "entries-1-config-variant",
            "gamma",
            "expected one of beta, sigma, got &#x27;gamma&#x27;",
        ),
        ("entries-1-label", "SNGAN", "&#x27;SNGAN&#x27; is taken, expected another"),
        (
            "entries-2-samplers",
            "ddpm\nddim steps=0",
            "line 2: steps: expected a whole number in 1..10000, got &#x27;0&#x27;",
        ),
        (
            "entries-2-samplers",
            "walk",
            f"line 1: name: expected one of {', '.join(DDPM.samplers)}, got &#x27;walk&#x27;",
        ),
        (
            "entries-2-samplers",
            "ddpm\n\nddim 50",
            f"line 3: 50: unknown field, expected one of: {', '.join(DDIM_FIELDS)}",
        ),
        (
            "entries-2-samplers",
            "ddim steps=5 steps=6",
            "line 1: steps: expected a whole number in 1..10000, got &#x27;5, 6&#x27;",
        ),
        ("entries-2-samplers", "ddim\nddim", "line 2: DDIM 50 is there already"),
    ],
)
def test_a_wrong_value_is_shown_at_its_field_and_stays_as_it_was_typed(
    admin: Client, protocol: Protocol, field: str, text: str, message: str
) -> None:
    form = open_form(admin)
    typed = {**filled(form, name="wrong"), field: [text]}

    page = send(admin, typed)

    assert page.count(message) == 1
    control = page.index(f'name="{field}"')
    following = page.find('name="', control + 1)
    assert control < page.index(message) < (following if following > 0 else len(page))
    form_shown = read_form(page)
    if field == "entries-1-config-variant":
        typed.pop(field), form_shown.values.pop(field)  # a select cannot show what it lacks
    typed.pop("csrfmiddlewaretoken"), form_shown.values.pop("csrfmiddlewaretoken")
    assert form_shown.values == typed


def test_everything_that_is_wrong_is_shown_at_once(admin: Client, protocol: Protocol) -> None:
    typed = filled(
        open_form(admin),
        entries__0__config__beta1="2",
        entries__1__config__beta="-1",
        seeds="0",
    )

    page = send(admin, typed)

    assert page.count("expected a name of 1 to 200 characters") == 1
    assert page.count("expected a count of 1 to 100") == 1
    assert page.count("expected a number in 0..0.999") == 1
    assert page.count("expected a number in 0..1000") == 1
    assert page.count("<details open") == 3 + 2  # of the entries, and of configurations in them


def test_text_with_a_nul_is_refused_and_the_entry_is_not_left_out_silently(
    admin: Client, protocol: Protocol
) -> None:
    page = send(admin, filled(open_form(admin), name="nul", entries__0__label="a\0b"))

    assert "Null characters are not allowed." in page


def test_a_protocol_of_another_dataset_is_refused_at_its_field(
    admin: Client, protocol: Protocol
) -> None:
    other = factories.make_protocol(dataset=factories.make_dataset(slug="letters"))

    page = send(
        admin, filled(open_form(admin), name="x", dataset="digits", protocols=[other.fingerprint])
    )

    assert "the protocol measures letters, not digits" in page


def test_no_protocol_and_no_entry_are_refused(admin: Client, protocol: Protocol) -> None:
    form = open_form(admin)
    typed = filled(form, name="x")
    for name in ["protocols", *(f"entries-{i}-include" for i in range(3))]:
        del typed[name]

    page = send(admin, typed)

    assert "expected a list of at least one protocol fingerprint" in page
    assert "Include at least one entry." in page


def test_a_dataset_can_be_chosen_by_the_address(admin: Client, protocol: Protocol) -> None:
    factories.make_protocol(dataset=factories.make_dataset(slug="letters"))

    form = open_form(admin, THREE + "&dataset=digits")

    assert form.values["dataset"] == ["digits"]
    assert form.values["protocols"] == [protocol.fingerprint]


def test_without_protocols_the_page_says_what_to_do(admin: Client) -> None:
    page = admin.get(ADD).content.decode()

    assert "manage.py register_dataset" in page
    assert "manage.py register_protocol" in page


@pytest.mark.parametrize(
    "typed",
    [
        {},
        {"entries-TOTAL": "51"},
        {"entries-TOTAL": "-1"},
        {"entries-TOTAL": "1"},
        {"entries-TOTAL": "1", "entries-0-algorithm": "gan.other"},
    ],
)
def test_what_this_form_never_sends_is_a_bad_request(admin: Client, typed: dict[str, str]) -> None:
    assert admin.post(ADD, typed).status_code == 400


def test_only_submitters_and_admins_see_the_form(protocol: Protocol) -> None:
    client = Client()
    for role, status in ((Role.VIEWER, 302), (Role.SUBMITTER, 200), (Role.ADMIN, 200)):
        client.force_login(factories.make_user(role=role))

        assert client.get(ADD).status_code == status, role
        assert client.post(ADD, {"entries-TOTAL": "0"}).status_code == status, role


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


@pytest.mark.parametrize(
    ("line", "sampler"),
    [
        ("ddim", {"name": "ddim"}),
        (" ddim  steps=50 eta=0 ", {"name": "ddim", "steps": "50", "eta": "0"}),
        ("temperature=0.7", {"temperature": "0.7"}),
        ("ddim fast", {"name": "ddim", "fast": ""}),
        ("ddim steps=5 steps=6", {"name": "ddim", "steps": "5, 6"}),
        ("ddim name=ddpm", {"name": "ddim, ddpm"}),
    ],
)
def test_a_sampler_is_a_name_and_its_settings(line: str, sampler: dict[str, str]) -> None:
    assert read_sampler(line) == sampler


@pytest.mark.parametrize("algorithm", registry.ALGORITHMS)
def test_the_samplers_in_the_help_are_written_as_they_may_be_typed(algorithm: str) -> None:
    for line in sampler_words(registry.get_spec(algorithm)):
        parsed = registry.parse_sampler(algorithm, read_sampler(line))
        assert parsed == registry.parse_sampler(algorithm, {"name": line.split()[0]})


def test_a_pipeline_joins_an_experiment_of_the_account(
    admin: Client, protocol: Protocol, root: User
) -> None:
    experiment = factories.make_experiment(protocols=[protocol], user=root)
    form = open_form(admin, f"?experiment={experiment.pk}&algorithm=pipeline")
    assert form.values["experiment"] == [str(experiment.pk)]
    typed = {**form.values, "entries-0-pipeline": ["us/tiny"], "entries-0-revision": ["main"]}

    page = admin.post(ADD, typed).content.decode()
    assert "expected a revision of 40 hex digits" in page
    answer = admin.post(ADD, {**typed, "entries-0-revision": ["0" * 40]})

    assert answer["Location"] == experiment.get_absolute_url()
    assert experiment.entries.get(kind="pipeline").config["pipeline"] == "us/tiny"
    assert Experiment.objects.count() == 1
