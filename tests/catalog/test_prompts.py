"""Sets of prompts on the site: registered once, read everywhere, frozen."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import ProtectedError
from django.test import Client

from catalog import services
from catalog.engine import RegistrationError
from catalog.models import FrozenError, PromptSet, Protocol
from catalog.prompts import register_prompts
from catalog.services import Scoring
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.prompts import packaged_prompts
from tests import factories

pytestmark = pytest.mark.django_db
PROMPTS: list[dict[str, Any]] = [
    {"id": "1", "text": "a red circle", "group": "colour", "claims": {"objects": [{"count": 1}]}},
    {"id": "2", "text": "a <b> \u732b", "group": "other"},
]


def text_of(prompts: list[dict[str, Any]] = PROMPTS) -> str:
    return json.dumps({"version": 1, "prompts": prompts})


def run(*arguments: str) -> str:
    stdout = io.StringIO()
    call_command(*arguments, stdout=stdout, stderr=io.StringIO())
    return stdout.getvalue()


def test_prompts_are_registered_from_a_file_and_twice_are_one_set(tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(text_of())

    printed = run("register_prompts", "Two of them", str(file))

    row = PromptSet.objects.get(slug="two-of-them")
    digest = row.parsed().digest()
    assert printed == (f"registered two-of-them: 2 prompts in 2 groups, digest {digest}\n")
    assert row.digest == digest
    assert run("register_prompts", "Two of them", str(file)).startswith("registered already: two")
    assert PromptSet.objects.count() == 1


def test_what_is_no_set_of_prompts_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    register_prompts("taken", text_of())
    file = tmp_path / "x.json"
    cases = {
        ("other", text_of()): "x.json: other: the same content is registered as taken",
        ("?", text_of()): "x.json: expected a name of 1 to 100 letters and digits, got '?'",
        ("other", "{"): "x.json: prompts: expected JSON (Expecting property name enclosed in "
        "double quotes: line 1 column 2 (char 1))",
        (
            "other",
            text_of([PROMPTS[0] | {"text": ""}]),
        ): "x.json: prompts.0.text: an empty caption; "
        "expected text of 1 to 1,000 printable characters",
    }
    for (name, text), expected in cases.items():
        file.write_text(text)
        with pytest.raises(CommandError) as caught:
            run("register_prompts", name, str(file))
        assert str(caught.value) == expected
    with pytest.raises(CommandError) as caught:
        run("register_prompts", "other", str(tmp_path / "none.json"))
    assert str(caught.value) == "none.json: No such file or directory"
    with pytest.raises(RegistrationError, match=r"taken: registered on .* with other content"):
        register_prompts("taken", text_of(PROMPTS[:1]))
    assert PromptSet.objects.count() == 1


def test_packaged_prompts_are_registered_by_name() -> None:
    assert run("register_prompts", "Scenes", "--packaged=scenes").startswith(
        "registered scenes: 80"
    )
    assert PromptSet.objects.get().parsed() == packaged_prompts("scenes")
    with pytest.raises(CommandError):
        run("register_prompts", "Nothing")


def test_a_preset_registers_the_prompts_that_it_asks_with(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def engine(arguments: list[str], *_: Any, **__: Any) -> dict[str, Any]:
        asked.append(arguments)
        raise RegistrationError("no further")

    monkeypatch.setattr(services, "run_evaluation", engine)
    dataset = factories.make_dataset(files=True, resolution=32, channels=3, classes=())

    for _ in range(2):
        with pytest.raises(RegistrationError, match="no further"):
            services.register_protocol(dataset, Scoring(preset="scenes-prompts"))

    assert PromptSet.objects.get().slug == "scenes"
    assert "--prompts" in asked[0]


def test_prompts_never_change_and_are_what_their_digest_says() -> None:
    row, _ = register_prompts("two", text_of())
    row.record = {"version": 1, "prompts": PROMPTS[:1]}

    with pytest.raises(FrozenError):
        row.save()
    with pytest.raises(ProtocolError):
        PromptSet.objects.create(slug="x", name="x", record=row.record, digest=row.digest)


def test_prompts_are_read_over_rest_and_in_the_admin(client: Client, admin_client: Client) -> None:
    row, _ = register_prompts("two", text_of())

    found = client.get("/api/promptsets/two/").json()

    assert (found["digest"], found["size"], found["prompts"]) == (row.digest, 2, PROMPTS)
    assert client.get("/api/promptsets/").json()["count"] == 1
    assert client.post("/api/promptsets/", {}).status_code in (401, 403, 405)
    page = admin_client.get(f"/admin/catalog/promptset/{row.pk}/change/").content.decode()
    assert "a red circle" in page and "a &lt;b&gt; \u732b" in page and "2 of 2" in page
    assert admin_client.get("/admin/catalog/promptset/").status_code == 200


# --- Protocols --------------------------------------------------------------------------------


def answer(prompts: PromptSet) -> dict[str, Any]:
    """Return what the engine says of a protocol that asks with prompts."""
    protocol = factories.make_protocol(prompts=prompts)
    found = {
        "protocol": protocol.record,
        "fingerprint": protocol.fingerprint,
        "facts": {},
        "weights": None,
    }
    protocol.delete()
    return found


def test_a_protocol_belongs_to_its_registered_prompts() -> None:
    row, _ = register_prompts("two", text_of())

    protocol, _ = services._keep_protocol(factories.make_dataset(), Scoring(), answer(row))

    assert protocol.prompt_set == row
    assert protocol.record["prompts"]["digest"] == row.digest
    with pytest.raises(ProtectedError):
        row.delete()


def test_a_protocol_without_its_prompts_is_not_registered() -> None:
    row, _ = register_prompts("two", text_of())
    said = answer(row)
    row.delete()

    with pytest.raises(RegistrationError) as caught:
        services._keep_protocol(factories.make_dataset(), Scoring(), said)

    assert str(caught.value) == (
        f"expected registered prompts, none are {row.digest[:12]}: register_prompts registers some"
    )
    assert not Protocol.objects.exists()


def test_the_engine_makes_a_protocol_with_prompts(client: Client) -> None:
    register_prompts("two", text_of())
    run("register_dataset", "Digits", "--digits")

    with pytest.raises(CommandError) as caught:
        run("register_protocol", "digits", "--preset=pixels-test", "--prompts=none")
    printed = run(
        *("register_protocol", "digits", "--extractor=pixels-pca64", "--metrics=fd"),
        *("--prompts=two", "--images-per-prompt=50", "--admission-images=0"),
    )

    assert str(caught.value) == "expected registered prompts (two), got 'none'"
    protocol = Protocol.objects.get()
    assert "images are asked with the prompts two" in printed
    assert (protocol.num_images, protocol.record["prompts"]["images_per_prompt"]) == (100, 50)
    assert client.get(f"/api/protocols/{protocol.fingerprint}/").json()["prompt_set"] == "two"
