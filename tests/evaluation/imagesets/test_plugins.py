"""Entry points of other packages are found in one order and loaded as light as they must be."""

import sys
from pathlib import Path

import pytest
import torch

from evaluation.imagesets.plugins import load_plugins
from tests.plugins import install

GROUP = "trilemma.nothing"


def test_they_come_in_the_order_of_their_packages_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Zebra", "big_toy", "apple"):
        install(tmp_path, name, {}, f"[{GROUP}]\ntwo = json:loads\none = nowhere:X\nnil = json:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    plugins, left_out = load_plugins(GROUP)

    assert [str(found.package) for found in plugins] == ["apple 0.1", "big-toy 0.1", "zebra 0.1"]
    assert [str(left) for left in left_out[:2]] == [
        "apple 0.1: entry point nil = json:X: AttributeError: module 'json' has no attribute 'X'",
        "apple 0.1: entry point one = nowhere:X: ModuleNotFoundError: No module named 'nowhere'",
    ]
    assert len(left_out) == 6


def test_a_package_that_lost_its_metadata_is_no_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "lost", {}, f"[{GROUP}]\none = json:loads\n")
    (tmp_path / "lost-0.1.dist-info" / "METADATA").unlink()
    monkeypatch.syspath_prepend(str(tmp_path))

    (plugin,), _ = load_plugins(GROUP)

    assert plugin.entry_point == "one = json:loads"


@pytest.mark.parametrize("imported", ["torch", "torch.nn", "numpy.random"])
def test_what_is_heavy_is_refused_also_where_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str
) -> None:
    module = f"heavy_{imported.replace('.', '_')}"
    files = {f"{module}.py": f"print('hello')\nimport {imported}\n"}
    install(tmp_path, "heavy", files, f"[{GROUP}]\none = {module}:X\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    plugins, (left,) = load_plugins(GROUP)

    assert plugins == []
    assert left.fault.endswith(" is imported; only the implementation's module may do that")
    assert sys.modules["torch"] is torch
