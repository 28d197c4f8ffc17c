"""Packages with faulty plugins are named and left out; everything else works on."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from generators.specs.registry import ALGORITHMS
from tests.plugins import install
from tests.site import ROOT

TOY = (ROOT / "tests" / "toy_vae" / "spec.py").read_text()


def toy(old: str, new: str) -> str:
    """Return the toy's module with a change."""
    assert old in TOY
    return TOY.replace(old, new)


SIZE = 'directions: int = option(8, "size of the code", minimum=1, maximum=256)'
FAULTS = {  # by package: its module, and how the fault begins
    "plain-default": (
        toy(SIZE, "directions: int = 8"),
        "vae.toy: config.directions: expected option(default, help), got a plain default or none",
    ),
    "odd-type": (
        toy(SIZE, SIZE.replace(": int", ": list")),
        "vae.toy: config.directions: expected the type int, float, bool, str, got <class 'list'>",
    ),
    "no-limits": (
        toy(", minimum=1, maximum=256", ""),
        "vae.toy: config.directions: expected a minimum and a maximum, a number needs both",
    ),
    "out-of-limits": (
        toy("option(8,", "option(800,"),
        "vae.toy: config.directions: expected a whole number in 1..256, got 800",
    ),
    "no-such-family": (
        toy('family="vae"', 'family="flow"'),
        "family: expected one of gan, vae, diffusion, or a Family, got 'flow'",
    ),
    "taken-name": (
        toy('name="vae.toy"', 'name="vae.conv"'),
        "name: 'vae.conv' is taken by another algorithm, expected another name",
    ),
    "no-entry": ("SPEC = 3", "expected an AlgorithmSpec, got 3"),
    "nothing-there": ("", "AttributeError: module 'nothing_there' has no attribute 'SPEC'"),
    "bad-syntax": ("def", "SyntaxError: invalid syntax (bad_syntax.py, line 1)"),
    "leaves": ("print('bye')\nraise SystemExit(0)", "SystemExit: 0"),
    "divides": ("1 / 0", "ZeroDivisionError: division by zero"),
    "heavy": (
        "import torch",
        "ImportError: torch is imported; only the implementation's module may do that",
    ),
}


SCORING = {  # by group of entry points: what a check calls it, and how its fault begins
    "trilemma.metrics": ("A metric", "expected MetricSpec, got int"),
    "trilemma.extractors": ("An extractor", "expected ExtractorSpec, got int"),
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of processes in which all of them and the toy are installed."""
    folder = tmp_path_factory.mktemp("packages")
    for name, (module, _) in FAULTS.items():
        install_one(folder, name, module.replace("{__package__}", name.replace("-", "_")))
    install_one(folder, "sound", TOY.replace("{__package__}", "sound"))
    points = "".join(f"[{group}]\nthree = three_times:THREE\n" for group in SCORING)
    install(folder, "three-times", {"three_times.py": "THREE = 3"}, points)
    path = [str(ROOT / "platform"), str(ROOT), str(folder)]
    data = str(tmp_path_factory.mktemp("data"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "DATA_DIR": data}


def install_one(folder: Path, name: str, module: str) -> None:
    module_name = name.replace("-", "_")
    points = f"[trilemma.algorithms]\n{name} = {module_name}:SPEC\n"
    install(folder, name, {f"{module_name}.py": module}, points)


def run(environment: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def lines_of_faults() -> list[str]:
    return [
        f"{name} 0.1: entry point {name} = {name.replace('-', '_')}:SPEC: {fault}"
        for name, (_, fault) in FAULTS.items()
    ]


def test_a_list_names_what_is_left_out_and_shows_the_rest(environment: dict[str, str]) -> None:
    listed = run(environment, "-m", "generators", "list", "--json")

    names = [record["name"] for record in json.loads(listed.stdout)]
    assert (names[0], names[-1], len(names)) == ("gan.dcgan", "vae.toy", len(ALGORITHMS) + 1)
    errors = listed.stderr.splitlines()
    assert "bye" in errors  # what a package prints is no part of a command's result
    errors.remove("bye")
    assert sorted(errors) == sorted(f"left out: {line}" for line in lines_of_faults())
    assert listed.returncode == 0


@pytest.mark.slow
def test_other_commands_work_and_say_why_an_algorithm_is_not_there(
    environment: dict[str, str],
) -> None:
    shown = run(environment, "-m", "generators", "train", "--help")
    refused = run(
        environment, *["-m", "generators", "train", "divides", "--data", "digits", "--out", "x"]
    )

    assert (shown.returncode, shown.stderr) == (0, "bye\n")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "error: algorithm 'divides' was left out; divides 0.1: entry point divides = divides:SPEC: "
        "ZeroDivisionError: division by zero"
    )


def test_a_system_check_warns_of_each_and_tables_are_made(environment: dict[str, str]) -> None:
    checked = run(environment, "manage.py", "check")
    migrated = run(environment, "manage.py", "migrate", "-v0")

    for line in lines_of_faults():
        warning = f"?: (experiments.W001) An algorithm is left out: {line}\n"
        assert warning in checked.stderr
    for what, fault in SCORING.values():
        line = f"three-times 0.1: entry point three = three_times:THREE: {fault}"
        assert f"?: (experiments.W002) {what} is left out: {line}\n" in checked.stderr
    assert checked.stderr.count("experiments.W001") == len(FAULTS)
    assert checked.stderr.count("experiments.W002") == len(SCORING)
    assert (checked.returncode, migrated.returncode) == (0, 0)


WHAT_THE_SITE_SAYS = """
import json, sys
import django
django.setup()
from django.test import Client
from accounts.models import User
from catalog.models import Dataset
Dataset.objects.create(
    **dict.fromkeys(("slug", "name", "digest", "train_digest", "test_digest"), "any"),
    **dict(resolution=8, channels=1, classes=["a", "b"], train_size=100, test_size=20),
)
admin = Client(SERVER_NAME="localhost")
admin.force_login(User.objects.create_superuser("root"))
form = admin.get("/submit/experiment/?entry=vae.toy")
schema = admin.get("/api/schema/?format=json").json()["components"]["schemas"]
print(json.dumps([form.content.decode(), schema["AlgorithmEnum"]["enum"], "torch" in sys.modules]))
"""


@pytest.mark.slow
def test_forms_and_the_schema_have_the_rest_without_torch(environment: dict[str, str]) -> None:
    run(environment, "manage.py", "migrate", "-v0")
    settings = {**environment, "DJANGO_SETTINGS_MODULE": "config.settings"}

    said = run(settings, "-c", WHAT_THE_SITE_SAYS)

    form, algorithms, loaded_torch = json.loads(said.stdout)
    assert 'name="entries.0.config.directions" value="" placeholder="5"' in form
    assert (algorithms[0], algorithms[-1], len(algorithms)) == (
        "gan.dcgan",
        "vae.toy",
        len(ALGORITHMS) + 1,
    )
    assert not loaded_torch
    assert "ERROR" not in said.stderr
    assert "three-times" not in said.stderr
