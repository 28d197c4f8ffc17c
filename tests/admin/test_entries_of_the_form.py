"""The submission form's entries: added, removed, folded, and filled in with presets."""

import re
from dataclasses import replace

import pytest
from django.test import Client

from catalog.models import Protocol
from experiments.models import Experiment
from generators.specs import registry
from generators.specs.algorithms import Preset
from generators.specs.options import to_dict
from tests import factories
from tests.admin.pages import ADD, THREE, Form, filled, open_form, read_form
from tests.admin.test_submitting import send


def test_an_excluded_entry_is_not_judged(admin: Client, protocol: Protocol) -> None:
    form = open_form(admin)
    del form.values["entries-0-include"]

    response = admin.post(ADD, filled(form, name="x", entries__0__config__beta1="2"))

    assert response.status_code == 302


def test_entries_can_be_added_without_losing_what_was_typed(
    admin: Client, protocol: Protocol
) -> None:
    typed = filled(open_form(admin), name="more", entries__1__config__beta="wrong")

    page = send(
        admin, {**typed, "add_entry": ["1"], "add_algorithm": ["vae.conv", "gan.sngan", "gan.x"]}
    )

    form = read_form(page)
    assert form.values["entries-TOTAL"] == ["5"]
    added = [form.values[f"entries-{i}-algorithm"][0] for i in (3, 4)]
    assert added == ["vae.conv", "gan.sngan"]
    assert form.values["entries-3-label"] == ["Conv VAE 2"]
    assert form.values["entries-1-config-beta"] == ["wrong"]
    assert form.values["name"] == ["more"]
    assert "expected a number" not in page


def test_many_entries_are_folded_but_those_that_need_an_eye(
    admin: Client, protocol: Protocol
) -> None:
    def unfolded(page: str) -> list[str]:
        return re.findall(r'entries-(\d+)-filled" value="[^"]*">\s*<details open>', page)

    four = admin.get(f"{ADD}{THREE}&algorithm=vae.conv").content.decode()
    typed = filled(read_form(four), name="x")

    assert unfolded(admin.get(ADD + THREE).content.decode()) == ["0", "1", "2"]
    assert unfolded(four) == []
    one_more = {**typed, "add_entry": ["1"], "add_algorithm": ["vae.conv"]}
    assert unfolded(send(admin, one_more)) == ["4"]
    assert unfolded(send(admin, {**typed, "entries-2-config-timesteps": ["x"]})) == ["2"]
    assert unfolded(send(admin, {**typed, "refill": ["1"]})) == ["1"]


@pytest.fixture
def small_vae(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the VAE presets that are known here."""
    spec = registry.get_spec("vae.conv")
    tiny = Preset(images=12_345, config={"base_channels": 7, "latent_dim": 5, "conditional": False})
    small = Preset(images=99_999, config={"base_channels": 9, "horizontal_flip": True})
    presets = {**spec.presets, "tiny": tiny, "small": small}
    monkeypatch.setitem(registry.ALGORITHMS, "vae.conv", replace(spec, presets=presets))


def shown(form: Form, *fields: str) -> list[list[str]]:
    return [form.values.get(f"entries-0-config-{field}", []) for field in fields]


@pytest.mark.usefixtures("small_vae")
def test_a_preset_fills_in_a_block_and_what_was_typed_stays(
    admin: Client, protocol: Protocol
) -> None:
    form = open_form(admin, "?algorithm=vae.conv")
    fields = ("base_channels", "latent_dim", "conditional", "horizontal_flip")
    assert form.choices["entries-0-preset"] == ["", *registry.get_spec("vae.conv").presets]
    assert shown(form, *fields) == [["0"], ["0"], ["on"], []]

    typed = filled(form, entries__0__preset="tiny", entries__0__config__latent_dim="6")
    page = send(admin, {**typed, "refill": ["0"]})

    form = read_form(page)
    assert "meant for 12,345 images seen" in page
    assert form.values["entries-0-filled"] == form.values["entries-0-preset"] == ["tiny"]
    assert shown(form, *fields) == [["7"], ["6"], [], []]

    form = read_form(send(admin, {**filled(form, entries__0__preset="small"), "refill": ["0"]}))

    assert shown(form, *fields) == [["9"], ["6"], ["on"], ["on"]]
    del form.values["entries-0-config-horizontal_flip"]
    form = read_form(send(admin, {**filled(form, entries__0__preset=""), "refill": ["0"]}))
    assert shown(form, *fields) == [["0"], ["6"], ["on"], []]


@pytest.mark.usefixtures("small_vae")
def test_a_preset_that_was_chosen_and_not_filled_in_is_submitted(
    admin: Client, protocol: Protocol
) -> None:
    form = open_form(admin, "?algorithm=vae.conv")
    typed = filled(
        form,
        name="tiny",
        entries__0__preset="tiny",
        entries__0__config__latent_dim="",  # as the preset has it
        entries__0__config__batch_size="20",
    )

    assert admin.post(ADD, typed).status_code == 302

    (entry,) = factories.contenders_of(Experiment.objects.get())
    wanted = {"base_channels": 7, "latent_dim": 5, "conditional": False, "batch_size": 20}
    assert entry.config == to_dict(registry.parse_config("vae.conv", wanted))


@pytest.mark.usefixtures("small_vae")
def test_entries_are_added_with_a_preset(admin: Client, protocol: Protocol) -> None:
    typed = filled(open_form(admin, "?algorithm=vae.conv&preset=tiny"), add_preset="tiny")

    form = read_form(send(admin, {**typed, "add_entry": ["1"], "add_algorithm": ["vae.conv"]}))

    for number in (0, 1):
        assert form.values[f"entries-{number}-preset"] == ["tiny"]
        assert form.values[f"entries-{number}-config-base_channels"] == ["7"]


def test_a_preset_that_no_block_offers_is_refused_at_its_field(
    admin: Client, protocol: Protocol
) -> None:
    page = send(admin, filled(open_form(admin), name="x", entries__1__preset="huge"))

    assert page.count("expected one of tiny, small, paper, got &#x27;huge&#x27;") == 1


def test_an_entry_can_be_removed_and_the_others_move_up(admin: Client, protocol: Protocol) -> None:
    typed = filled(open_form(admin), entries__2__label="mine")

    form = read_form(send(admin, {**typed, "remove_entry": ["0"]}))

    assert form.values["entries-TOTAL"] == ["2"]
    assert form.values["entries-0-algorithm"] == ["vae.conv"]
    assert form.values["entries-1-label"] == ["mine"]
    assert ("remove_entry", "1") in form.buttons
    assert ("remove_entry", "2") not in form.buttons


def test_enter_in_a_field_submits_and_does_not_remove_an_entry(
    admin: Client, protocol: Protocol
) -> None:
    assert open_form(admin).buttons[0] == ("_save", "")


def test_a_pipeline_has_fields_of_its_own_and_errors_at_them(
    admin: Client, protocol: Protocol
) -> None:
    form = open_form(admin, "?algorithm=pipeline")
    assert form.values["entries-0-config-precision"] == ["float32"]
    typed = filled(
        form,
        name="theirs",
        entries__0__pipeline="../etc",
        entries__0__samplers="DDIMScheduler steps=x\nown steps=3",
        entries__0__negative_prompt="a dog",
    )

    page = send(admin, typed)

    assert "expected the name of a folder of the storage, got &#x27;../etc&#x27;" in page
    assert "line 1: steps: expected a whole number in 0..10000, got &#x27;x&#x27;" in page
    again = read_form(page)
    assert again.values["entries-0-negative_prompt"] == ["a dog"]


def test_a_hubs_pipeline_is_submitted_without_a_budget(admin: Client, protocol: Protocol) -> None:
    typed = filled(
        open_form(admin, "?algorithm=pipeline"),
        name="theirs",
        entries__0__pipeline="us/tiny",
        entries__0__revision="0" * 40,
        entries__0__label="Theirs",
        entries__0__samplers="DDIMScheduler steps=4 guidance=1,3",
        entries__0__negative_prompt="a dog",
    )

    assert admin.post(ADD, typed).status_code == 302

    entry = Experiment.objects.get().entries.get(kind="pipeline")
    assert (entry.label, entry.experiment.budget) == ("Theirs", "")
    assert entry.config["revision"] == "0" * 40
    assert [each["guidance"] for each in entry.samplers] == [1.0, 3.0]
    assert {each["negative_prompt"] for each in entry.samplers} == {"a dog"}
    labels = list(entry.sample_sets.values_list("sampler_label", flat=True))
    assert labels == ["DDIM 4 w=1 not 'a dog'", "DDIM 4 w=3 not 'a dog'"]
