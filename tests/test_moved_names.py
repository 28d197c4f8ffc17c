"""Import paths that were documented hand their names on for a version, and say where they are."""

import subprocess
import sys
from importlib import import_module

import pytest

MOVED = {
    "evaluation.frechet": ("evaluation.metrics.frechet", ["frechet_distance"]),
    "evaluation.inception_score": ("evaluation.metrics.inception_score", ["inception_score"]),
    "evaluation.kid": ("evaluation.metrics.kernel_distance", ["kernel_distance"]),
    "evaluation.moments": ("evaluation.metrics.moments", ["Moments"]),
    "evaluation.neighbours": ("evaluation.metrics.neighbours", ["neighbour_metrics"]),
    "generators.base": (
        "generators.algorithm.contract",
        ["Algorithm", "Batch", "Context", "OnStep", "Phase", "Shape", "Step", "expect_sampler"],
    ),
    "generators.noise": ("generators.algorithm.noise", ["NoiseSource"]),
    "generators.configs": (
        "generators.specs.options",
        ["ConfigError", "DirectSampler", "SamplerConfig", "TrainingConfig", "named", "option"],
    ),
    "generators.registry": (
        "generators.specs.registry",
        ["ALGORITHMS", "FAMILIES", "get_spec", "parse_config", "parse_sampler"],
    ),
}
DOOR = ["AlgorithmSpec", "Preset", "Family", "samplers_by_name", "PRESETS"]


@pytest.mark.parametrize("earlier", MOVED)
def test_an_earlier_path_hands_the_same_names_on_with_a_warning(earlier: str) -> None:
    now, names = MOVED[earlier]
    sys.modules.pop(earlier, None)

    with pytest.warns(DeprecationWarning, match=rf"^{earlier} is {now} now$") as caught:
        module = import_module(earlier)

    assert len(caught) == 1
    assert all(getattr(module, name) is getattr(import_module(now), name) for name in names)


def test_the_door_for_plugins_needs_no_new_path_and_warns_of_nothing() -> None:
    code = (
        f"from generators.specs import {', '.join(DOOR)}; import sys; print('torch' in sys.modules)"
    )

    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )

    assert (answer.returncode, answer.stdout) == (0, "False\n"), answer.stderr


@pytest.mark.slow
def test_nothing_of_ours_takes_an_earlier_path() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error');"
        "import generators.commands.train, generators.commands.sample, evaluation.commands.report,"
        "evaluation.scoring.evaluate;"
        f"print([name for name in {list(MOVED)} if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert (answer.returncode, answer.stdout) == (0, "[]\n"), answer.stderr
