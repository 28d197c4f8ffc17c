"""Experiments submitted from files."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command

from catalog.models import Protocol
from experiments.models import Experiment
from tests import factories

ROOT = Path(__file__).parents[2]


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol(dataset=factories.make_dataset(slug="mnist"))


def write(folder: Path, data: Any) -> str:
    path = folder / "experiment.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
    return str(path)


def submit(*arguments: str) -> str:
    out = io.StringIO()
    call_command("submit", *arguments, stdout=out)
    return out.getvalue()


def test_a_file_is_submitted_and_its_id_and_address_printed(
    protocol: Protocol, tmp_path: Path
) -> None:
    user = factories.make_user(username="ada")
    data = factories.experiment_data(protocol=protocol, name="from a file", seeds=[0, 7])

    printed = submit(write(tmp_path, data), "--user", "ada")

    experiment = Experiment.objects.get(name="from a file")
    assert printed == f"experiment {experiment.pk}: /experiments/{experiment.pk}/\n"
    assert (experiment.created_by, experiment.seeds) == (user, [0, 7])


def test_json_is_read_too_and_standard_input(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = factories.experiment_data(protocol=protocol, name="as JSON")
    submit(write(tmp_path, json.dumps(data)))
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({**data, "name": "from stdin"})))
    submit("-")

    names = set(Experiment.objects.values_list("name", flat=True))
    assert names == {"as JSON", "from stdin"}


def test_the_example_of_the_help_is_submitted(protocol: Protocol, tmp_path: Path) -> None:
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / ".readme" / "data.md").read_text())
    (example,) = [block for block in blocks if "entries:" in block]
    ours, changed = re.subn(r'(protocols: \[")\w+', rf"\g<1>{protocol.short}", example)
    assert changed == 1

    submit(write(tmp_path, ours))

    experiment = Experiment.objects.get()
    labels = [entry.label for entry in factories.contenders_of(experiment)]
    assert labels == ["β = 1", "β = 4", "R3GAN", "DDPM"]
    assert list(experiment.protocols.all()) == [protocol]


@pytest.mark.parametrize("path", sorted((ROOT / ".readme").glob("*.yaml")), ids=lambda p: p.name)
def test_the_experiments_behind_the_readme_can_be_submitted(db: None, path: Path) -> None:
    data = yaml.safe_load(path.read_text())
    dataset = factories.make_dataset(slug=data["dataset"], resolution=28)
    for name in data["protocols"]:
        factories.make_protocol(dataset=dataset, name=name)

    submit(str(path))

    experiment = Experiment.objects.get(name=data["name"])
    assert len(factories.contenders_of(experiment)) == len(data["entries"])
    assert len(experiment.seeds) >= 2


def test_errors_come_one_a_line_with_their_path_and_nothing_is_written(
    protocol: Protocol, tmp_path: Path
) -> None:
    entries = [{"algorithm": "vae.conv", "config": {"beta": "much", "latent_dim": -1}}]
    data = factories.experiment_data(protocol=protocol, entries=entries, seeds=0)
    err = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("submit", write(tmp_path, data), stderr=err)

    assert ended.value.code == 1
    assert err.getvalue().splitlines() == [
        "seeds: expected a count of 1 to 100, or a list of different seeds in 0..2147483647, got '0'",
        "entries.0.config.beta: expected a number in 0..1000, got 'much'",
        "entries.0.config.latent_dim: expected a whole number in 0..4096, got '-1'",
    ]
    assert not Experiment.objects.exists()


def test_two_rules_of_labels_are_refused_at_the_protocol(
    protocol: Protocol, tmp_path: Path
) -> None:
    dataset = protocol.dataset
    ruled = factories.make_protocol(dataset=dataset, class_counts=[20] * 10)
    both = [protocol.fingerprint, ruled.fingerprint]
    err = io.StringIO()

    data = factories.experiment_data(protocol=protocol, protocols=both)
    with pytest.raises(SystemExit):
        call_command("submit", write(tmp_path, data), stderr=err)

    assert err.getvalue().startswith(
        f"protocols.1: {ruled.label} draws labels in the reference's shares of 10 classes (20 : 20 "
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected field: value pairs, got NoneType"),
        ("- a\n- b\n", "expected field: value pairs, got list"),
        ("name: [", "while parsing a flow node"),
        ("name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_a_file_that_describes_nothing_is_refused(
    db: None, tmp_path: Path, text: str, message: str
) -> None:
    name = write(tmp_path, text)

    with pytest.raises(CommandError, match=re.escape(message)) as refused:
        submit(name)

    assert str(refused.value).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nseeds: 1\nname: b\n", "line 3: 'name' is there already, in line 1"),
        ("budget:\n  images: 10\n  images: 20\n", "line 3: 'images' is there already, in line 2"),
        ('{"name": "a",\n "entries": [{"label": 1, "label": 2}]}', "line 2: 'label' is there"),
        ("a: &a {x: 1}\n<<: *a\n<<: *a\n", "line 3: '<<' is there already, in line 2"),
        ("1: a\n'1': b\n", "line 2: '1' is there already, in line 1"),
    ],
)
def test_a_key_that_is_there_twice_is_refused_at_its_line(
    db: None, tmp_path: Path, text: str, message: str
) -> None:
    for command in ("submit", "run_experiment"):
        with pytest.raises(CommandError, match=re.escape(message)):
            call_command(command, write(tmp_path, text))


def test_what_another_part_gives_may_be_given_anew(protocol: Protocol, tmp_path: Path) -> None:
    data = factories.experiment_data(protocol=protocol, name="merged")
    data.pop("entries")
    entries = """
entries:
- &first {algorithm: vae.conv, label: one, config: {beta: 2}}
- {<<: *first, label: two}
"""

    submit(write(tmp_path, yaml.safe_dump(data) + entries))

    one, two = factories.contenders_of(Experiment.objects.get())
    assert (one.label, two.label) == ("one", "two")
    assert one.config == two.config
    assert one.config["beta"] == 2


NUMBERS = [  # the field, what is written, what is meant
    ("budget: {images: %s}", "1e3", ("budget_images", 1000)),
    ("budget: {images: %s}", "1000.0", ("budget_images", 1000)),
    ("budget: {images: %s}", "'1000'", ("budget_images", 1000)),
    ("budget: {images: %s}", "1_000", ("budget_images", 1000)),
    ("budget: {images: %s}", "01000", ("budget_images", 1000)),
    ("budget: {images: %s}", "+1E+3", ("budget_images", 1000)),
    ("budget: {device_seconds: %s}", "1e2", ("budget_seconds", 100.0)),
    ("budget: {device_seconds: %s}", "1.5e0", ("budget_seconds", 1.5)),
    ("seeds: %s", "2e0", ("seeds", [0, 1])),
    ("seeds: %s", "'2'", ("seeds", [0, 1])),
    ("seeds: %s", "[1e3, '7', 2.0]", ("seeds", [1000, 7, 2])),
    ("memory_gb: %s", "1e1", ("memory_gb", 10)),
    ("memory_gb: %s", "24.0", ("memory_gb", 24)),
]


@pytest.mark.parametrize(("field", "text", "meant"), NUMBERS)
def test_a_number_is_a_number_however_it_is_written(
    protocol: Protocol, tmp_path: Path, field: str, text: str, meant: tuple[str, Any]
) -> None:
    line = field % text
    data = factories.experiment_data(protocol=protocol, name="numbers")
    data.pop(line.partition(":")[0], None)

    submit(write(tmp_path, f"{yaml.safe_dump(data)}{line}\n"))

    name, value = meant
    found = getattr(Experiment.objects.get(), name)
    assert (found, type(found)) == (value, type(value))


NO_NUMBERS = ["many", "true", "yes", ".nan", ".inf", "-.inf", "nan", "1e999", "1.5", "1:30", "-1"]
NO_NUMBERS += ["٣", "''", "null", "0x10", "2024-01-01", "9" * 5000, "1e999999999", "{}"]


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("budget: {images: %s}", "budget"),
        ("seeds: %s", "seeds"),
        ("seeds: [%s]", "seeds"),
        ("memory_gb: %s", "memory_gb"),
    ],
)
def test_what_is_no_whole_number_is_refused_at_its_field(
    protocol: Protocol, tmp_path: Path, field: str, path: str, text: str
) -> None:
    data = factories.experiment_data(protocol=protocol)
    data.pop(path, None)
    file = write(tmp_path, f"{yaml.safe_dump(data)}{field % text}\n")
    err = io.StringIO()

    with pytest.raises(SystemExit):
        call_command("submit", file, stderr=err)

    assert [line.partition(":")[0] for line in err.getvalue().splitlines()] == [path]


def test_names_and_labels_are_what_is_written(protocol: Protocol, tmp_path: Path) -> None:
    text = f"""
name: 2024-01-01
dataset: mnist
protocols: [{protocol.short}]
budget: {{images: 100}}
entries:
- {{algorithm: vae.conv, label: no, config: {{conditional: off, beta: 1e0}}}}
- {{algorithm: vae.conv, label: 012}}
"""

    submit(write(tmp_path, text))

    experiment = Experiment.objects.get(name="2024-01-01")
    no, number = factories.contenders_of(experiment)
    assert (no.label, number.label) == ("no", "012")
    assert (no.config["conditional"], no.config["beta"]) == (False, 1.0)


def test_a_file_that_is_not_there_or_no_text_is_refused(db: None, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(CommandError, match="No such file or directory"):
        submit(str(tmp_path / "nothing.yaml"))
    with pytest.raises(CommandError, match="can't decode byte 0xff"):
        submit(str(tmp_path / "binary"))


def test_an_unknown_user_is_refused_before_anything_is_read(db: None) -> None:
    with pytest.raises(CommandError) as refused:
        submit("nothing.yaml", "--user", "nobody")

    assert str(refused.value) == "expected the name of a user, got 'nobody'"
