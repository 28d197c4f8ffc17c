"""Metrics and extractors of other packages: found, checked, fingerprinted, scored, missed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.features import registry
from evaluation.features.base import ExtractorError
from evaluation.imagesets.in_memory import write_npz
from evaluation.metrics.uncertainty import MetricResult
from evaluation.scoring.checks import EvaluationError
from evaluation.scoring.plugged import MetricInputs, measure_plugged
from tests.evaluation.factories import make_protocol
from tests.plugins import install
from tests.site import ROOT
from tests.toy_packages import install_scoring, written
from tests.toy_scoring.measure import Brightness
from tests.toy_scoring.spec import BRIGHTNESS, GAP

# What each entry point of a faulty package names, and the fault that it is refused with.
FAULTS = {
    "no_spec": ("trilemma.metrics", "3", "expected MetricSpec, got int"),
    "raises": ("trilemma.metrics", "1 / 0", "ZeroDivisionError: division by zero"),
    "leaves": ("trilemma.metrics", "sys.exit(print('bye') or 3)", "SystemExit: 3"),
    "field": ("trilemma.metrics", "metric(minimum='low')", "minimum: expected float | None, got"),
    "infinite": ("trilemma.metrics", "metric(parameters={'a': inf})", "parameters: expected "),
    "corner": ("trilemma.metrics", "metric(corner='speed')", "corner: expected "),
    "title": ("trilemma.metrics", "metric(name='Bad name')", "name: expected a name like [a-z]"),
    "reserved": ("trilemma.metrics", "metric(name='nfe')", "name: expected a name no column of"),
    "taken": ("trilemma.metrics", "metric(name='fd')", "name: expected one that is not taken"),
    "fid": ("trilemma.metrics", "metric(label='FID two')", "label: expected no FID"),
    "named": ("trilemma.metrics", "metric(label='kid')", "label: expected one that is not taken"),
    "prefix": ("trilemma.metrics", "metric(prefix='KD')", "prefix and suffix: expected one that"),
    "preset": ("trilemma.metrics", "metric(by_default=True)", "by_default: expected False"),
    "pairs": ("trilemma.metrics", "metric(needs=('pairs',))", "needs: expected some of"),
    "module": (
        "trilemma.metrics",
        "metric(implementation='nowhere.at_all:f')",
        "implementation: expected a module that is installed, got 'nowhere.at_all:f'",
    ),
    "part": (
        "trilemma.metrics",
        "metric(implementation='networks.mesure:f')",
        "implementation: expected a module that is installed, got 'networks.mesure:f'",
    ),
    "heavy": (
        "trilemma.metrics",
        "metric(help=__import__('numpy').__name__)",
        "ImportError: numpy is imported; only the implementation's module may do that",
    ),
    "torch": (
        "trilemma.extractors",
        "extractor(help=__import__('torch.nn').__name__)",
        "ImportError: torch",
    ),
    "width": ("trilemma.extractors", "extractor(dim=0)", "dim: expected at least 1, or None"),
    "known": (
        "trilemma.extractors",
        "extractor(known_weights={'0' * 64: 'mine'})",
        "known_weights: expected none: they are FID's",
    ),
    "short": ("trilemma.extractors", "extractor(name='other')", "short_name: expected the name"),
}
FAULTY = """
import sys
from dataclasses import replace
from math import inf
from toy_scoring.spec import BRIGHTNESS, GAP

def metric(**changes):
    names = {"name": "faulty", "label": "Faulty", "prefix": "Faulty"}
    return replace(GAP, **{**names, **changes})

def extractor(**changes):
    return replace(BRIGHTNESS, **{"name": "faulty", "short_name": "faulty", **changes})
"""

SOUND = f"""{FAULTY}
SPEC = metric(name='sound', label='Sound', prefix='SO', implementation='networks.measure:f')
"""  # a network's package may load torch, when the metric is measured


def run(packages: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the packages of a folder are installed."""
    path = os.pathsep.join([str(ROOT), str(packages)])
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def score(folder: Path, packages: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Score under the toy's extractor and metrics beside one that is built in."""
    return run(packages, "-m", "evaluation", *score_words(folder, *more))


def score_words(folder: Path, *more: str) -> list[str]:
    sets = ["--reference", str(folder / "train.npz"), "--held-out", str(folder / "test.npz")]
    places = ["--cache", str(folder / "cache"), "--device", "cpu"]
    return ["score", str(folder / "generated.npz"), *sets, *places, *more]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Yield a folder with images whose mean brightness is known: 0, 51 and 102 of 255."""
    for name, level in (("train", 0), ("test", 51), ("generated", 102)):
        write_npz(tmp_path / f"{name}.npz", np.full((4, 1, 8, 8), level, np.uint8), None)
    return tmp_path


def result(folder: Path, packages: Path, *more: str) -> dict[str, Any]:
    path = folder / "result.json"
    names = ("--extractor", "toy-brightness", "--metrics", "fd,toy_gap,toy_outside")
    done = score(folder, packages, *names, "--json", str(path), *more)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(path.read_text())
    return record


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which a package with every fault is installed, and the toy."""
    packages = install_scoring(tmp_path_factory.mktemp("packages"))
    files: dict[str, str] = {}
    points: dict[str, list[str]] = {}
    for name, (group, code, _) in FAULTS.items():
        points.setdefault(group, []).append(f"{name} = faulty_{name}:SPEC")
        files[f"faulty_{name}.py"] = f"{FAULTY}\nSPEC = {code}\n"
    files |= {"networks/__init__.py": "import torch", "networks/measure.py": "", "sound.py": SOUND}
    points["trilemma.metrics"].append("sound = sound:SPEC")
    return install(packages, "ZZ_faulty", files, written(points), version="2.0")


def check_faults(lines: Sequence[str]) -> None:
    """Check that these lines name every fault once, with its package and entry point."""
    for name, (_, _, fault) in FAULTS.items():
        where = f"zz-faulty 2.0: entry point {name} = faulty_{name}:SPEC: "
        (line,) = [line for line in lines if line.startswith(where)]
        assert line.removeprefix(where).startswith(fault), line
    assert len(lines) == len(FAULTS)


def test_each_fault_is_named_with_its_package_and_entry_point_and_left_out(faulty: Path) -> None:
    done = run(
        faulty,
        "-c",
        "from evaluation.protocols import extractors, metrics; import sys;"
        "print([m for m, spec in metrics.METRICS.items() if spec.package]);"
        "print([e for e, spec in extractors.EXTRACTORS.items() if spec.package]);"
        "print({'torch', 'numpy'} & {*sys.modules});"
        "print(*metrics.LEFT_OUT, *extractors.LEFT_OUT, sep='\\n')",
    )

    taken, brings, heavy, *lines = done.stdout.splitlines()
    assert (taken, brings) == ("['toy_gap', 'toy_outside', 'sound']", "['toy-brightness']")
    assert heavy == "set()"
    check_faults(lines)
    assert done.stderr == "bye\n"  # what a package prints is no part of a command's result


IN_TURN = """
import json, sys
from evaluation.__main__ import main
for command in json.loads(sys.argv[1]):
    try:
        status = main(command)
    except SystemExit as end:
        status = end.code
    for stream in (sys.stdout, sys.stderr):
        print(f"\\n-- {status}", file=stream)
"""


def test_commands_name_what_is_left_out_once_and_work(faulty: Path, images: Path) -> None:
    names = ("--extractor", "toy-brightness", "--metrics")
    commands = [
        score_words(images, *names, "toy_gap"),
        score_words(images, *names, "faulty"),
        ["admit", "--help"],
    ]

    done = run(faulty, "-c", IN_TURN, json.dumps(commands))

    scored, *statuses, helped, last = re.split(r"^-- (\d)\n", done.stdout, flags=re.M)[:-1]
    assert [*statuses[::2], last] == ["0", "2", "0"]
    assert "TG[toy-brightness]" in scored
    assert "usage: " in helped
    errors = re.split(r"^-- \d\n", done.stderr, flags=re.M)[:3]
    for error in errors:
        lines = error.splitlines()
        check_faults([line[len("left out: ") :] for line in lines if line.startswith("left out: ")])
        assert "ERROR" not in error
    assert "left out: " not in scored
    assert "expected metrics of fd, " in errors[1]


def test_built_in_names_and_records_are_the_same_beside_a_plugin(tmp_path: Path) -> None:
    code = (
        "from tests.evaluation.factories import *; p = make_protocol();"
        "print(p.fingerprint(), list(p.metrics))"
    )

    beside = run(install_scoring(tmp_path), "-c", code)

    without = make_protocol()  # no plugin is installed here
    assert beside.stdout == f"{without.fingerprint()} {list(without.metrics)}\n"


@pytest.mark.slow
def test_a_metric_and_an_extractor_of_a_package_are_scored_and_fingerprinted(images: Path) -> None:
    packages = install_scoring(images / "packages")

    found = result(images, packages)

    gap, outside = found["metrics"]["toy_gap"], found["metrics"]["toy_outside"]
    assert (gap["label"], gap["value"]) == ("TG[toy-brightness]", pytest.approx(0.4**2))
    assert gap["details"] == {"seed": 3}
    assert (outside["label"], outside["value"]) == ("TO[toy-brightness]", 4.0)
    assert found["metrics"]["fd"]["label"] == "FD[toy-brightness]"
    package = {"name": "toy-scoring", "version": "0.1"}
    assert found["protocol"]["metrics"]["toy_gap"]["package"] == package
    assert found["protocol"]["extractor"]["recipe"] == {"package": package}
    assert "package" not in found["protocol"]["metrics"]["fd"]


@pytest.mark.slow
def test_another_version_is_another_protocol_and_none_at_all_is_said(images: Path) -> None:
    first = result(images, install_scoring(images / "first"))
    protocol = images / "protocol.json"
    protocol.write_text(json.dumps(first["protocol"]))
    second = install_scoring(images / "second", version="0.2")
    (images / "none").mkdir()

    other = result(images, second)
    old = score(images, second, "--protocol", str(protocol))
    gone = score(images, images / "none", "--protocol", str(protocol))
    (images / "other.json").write_text(json.dumps(other))
    compared = run(
        images / "none", "-m", "evaluation", "compare", str(protocol), str(images / "other.json")
    )

    assert other["fingerprint"] != first["fingerprint"]
    assert (old.returncode, gone.returncode, compared.returncode) == (2, 2, 1)
    needs = "error: metrics.toy_gap: needs the package toy-scoring 0.1"
    assert old.stderr.strip().endswith(f"{needs}; 0.2 is installed")
    assert gone.stderr.strip().endswith(f"{needs}, which is not installed")
    assert "metrics toy gap package version: 0.1 and 0.2" in compared.stdout


@pytest.mark.slow
def test_features_of_another_version_are_computed_anew(images: Path) -> None:
    saved = ("reference", "build", str(images / "train.npz"), "--name", "zero")
    options = ("--extractor", "toy-brightness", "--cache", str(images / "cache"), "--device", "cpu")
    first = install_scoring(images / "first")
    built = run(first, "-m", "evaluation", *saved, *options)
    assert built.returncode == 0, built.stderr
    second = install_scoring(images / "second", version="0.2")
    module = second / "toy_scoring" / "measure.py"
    module.write_text(module.read_text().replace("/ 255", "/ 510"))

    old, new = result(images, first), result(images, second)
    gone = run(
        second,
        *("-m", "evaluation", "score", str(images / "generated.npz"), "--reference", "zero"),
        *("--metrics", "toy_gap", *options),
    )

    assert old["metrics"]["toy_gap"]["value"] == pytest.approx(0.4**2)
    assert new["metrics"]["toy_gap"]["value"] == pytest.approx(0.2**2)
    assert gone.returncode == 2
    assert "reference zero: features of toy-brightness with weights" in gone.stderr


PACKAGE = {"name": "toy-scoring", "version": "0.1"}


def brought(monkeypatch: pytest.MonkeyPatch, found: object) -> str:
    """Return the implementation of a spec that is what is found there."""
    module = ModuleType("toy_brought")
    module.found = found  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "toy_brought", module)
    return "toy_brought:found"


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda inputs: 3.0, "expected a MetricResult, got float"),
        (lambda inputs: MetricResult(float("nan")), "expected finite numbers, or undefined()"),
        (lambda inputs: MetricResult(None), "expected a reason where there is no value"),
        (lambda inputs: MetricResult(1.0, details={"z": 1j}), "expected details of plain JSON"),
        (lambda inputs: inputs.parameters["missing"], "KeyError: 'missing'"),
        ("no function", "toy_gap: expected toy_brought:found to be callable, it is not"),
    ],
)
def test_a_function_that_fails_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, function: object, fault: str
) -> None:
    spec = replace(GAP, package=PACKAGE, implementation=brought(monkeypatch, function))
    inputs = MetricInputs(
        generated=torch.zeros(3, 2),
        reference=torch.zeros(3, 2),
        held_out=None,
        generated_logits=None,
        reference_logits=None,
        parameters=GAP.parameters,
        uncertainty=GAP.uncertainty,
        level=0.95,
        keep_going=lambda: None,
    )

    with pytest.raises(EvaluationError, match=re.escape(f"toy_gap of toy-scoring 0.1: {fault}")):
        measure_plugged(spec, inputs)


class Bare:
    def __init__(self, request: object) -> None:
        pass


class Wide(Brightness):
    dim = 3


class Published(Brightness):
    weights_sha256 = "no digest"


@pytest.mark.parametrize(
    ("factory", "fault"),
    [
        (Bare, "expected a subclass of Extractor, got Bare"),
        (Wide, "expected dim 2, got 3"),
        (Published, "expected the sha256 of its weights, got 'no digest'"),
    ],
)
def test_an_extractor_that_is_none_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, factory: type, fault: str
) -> None:
    spec = replace(
        BRIGHTNESS,
        package=PACKAGE,
        has_weights=factory is Published,
        implementation=brought(monkeypatch, factory),
    )
    monkeypatch.setattr(registry, "get_extractor", lambda name: spec)

    with pytest.raises(ExtractorError, match=f"toy-brightness of toy-scoring 0.1: {fault}"):
        registry.build_extractor("toy-brightness", cache=tmp_path)
