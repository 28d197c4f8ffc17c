"""All metrics from features against torch-fidelity's on two CPU cores; memory and growth with N."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from evaluation.metrics.frechet import measure_frechet, reference_gaussian
from evaluation.metrics.kernel_distance import kernel_distance, subset_kernel_distance
from evaluation.metrics.pairwise import Kernel, Neighbours, measure_pairs
from tests.benchmarks.conftest import Race

DIM = 2048
K = 3
fid = pytest.importorskip("torch_fidelity.metric_fid")
kid = pytest.importorskip("torch_fidelity.metric_kid")
prc = pytest.importorskip("torch_fidelity.metric_prc")


def features(count: int, *, seed: int, scale: float = 1.0) -> Tensor:
    """Return float32 features that are never negative and depend on each other, as Inception's."""
    mix = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(0)) / DIM**0.5
    mix *= torch.linspace(1, 0.05, DIM)
    rows = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return torch.relu(scale * rows @ mix + 0.1)


@pytest.fixture(scope="module")
def sets() -> tuple[Tensor, Tensor]:
    return features(10_000, seed=1), features(10_000, seed=2, scale=0.95)


def our_values(real: Tensor, generated: Tensor) -> dict[str, float]:
    """Measure everything, with intervals where there are any."""
    found = measure_pairs(real, generated, kernel=Kernel(), neighbours=Neighbours(k=K))
    found["fd"] = measure_frechet(generated, reference_gaussian(real))
    return {name: float(result.value or 0) for name, result in found.items()}


def their_distance(real: Tensor, generated: Tensor) -> float:
    statistics = [fid.fid_features_to_statistics(x) for x in (generated, real)]
    found = fid.fid_statistics_to_metric(*statistics, verbose=False)
    return float(found["frechet_inception_distance"])


def their_kernel_distance(real: Tensor, generated: Tensor) -> float:
    found = kid.kid_features_to_metric(generated, real, verbose=False)
    return float(found["kernel_inception_distance_mean"])


def their_precision_and_recall(real: Tensor, generated: Tensor) -> tuple[float, float]:
    found = prc.prc_features_to_metric(generated, real, verbose=False)
    return found["precision"], found["recall"]


def test_all_metrics_take_a_quarter_of_the_time_of_torch_fidelity(
    race: Race, report: Callable[[str], None], sets: tuple[Tensor, Tensor]
) -> None:
    real, generated = sets
    ours: dict[str, float] = {}

    def measure() -> float:
        ours.update(our_values(real, generated))
        return ours["fd"]

    def theirs() -> float:
        their_kernel_distance(real, generated)
        their_precision_and_recall(real, generated)
        return their_distance(real, generated)

    result = race(
        f"FD + KD + precision + recall (ours: + density, coverage, authenticity, intervals) "
        f"from 10,000 + 10,000 features, d = {DIM}",
        measure,
        {"torch-fidelity": theirs},
    )
    report("  ours: " + ", ".join(f"{name} {value:.6g}" for name, value in ours.items()))

    peer = result.peers["torch-fidelity"]
    assert peer.value == pytest.approx(ours["fd"], rel=1e-4)
    precision, recall = their_precision_and_recall(real, generated)
    assert round(precision * 10_000) == round(ours["precision"] * 10_000)
    assert round(recall * 10_000) == round(ours["recall"] * 10_000)
    assert result.ratio("torch-fidelity") >= 4


def test_the_kernel_distance_of_subsets_is_no_slower(
    race: Race, sets: tuple[Tensor, Tensor]
) -> None:
    result = race(
        f"KD of 100 subsets of 1,000 from 10,000 + 10,000 features, d = {DIM}",
        lambda: subset_kernel_distance(*sets).value or 0.0,
        {"torch-fidelity": partial(their_kernel_distance, *sets)},
        rounds=2,
    )

    assert result.peers["torch-fidelity"].value == pytest.approx(result.ours.value, rel=1e-4)
    assert result.ratio("torch-fidelity") > 1


def test_the_kernel_distance_of_all_pairs_lies_among_those_of_subsets(
    race: Race, sets: tuple[Tensor, Tensor]
) -> None:
    result = race(
        f"KD of all pairs (theirs: of subsets) from 10,000 + 10,000 features, d = {DIM}",
        lambda: kernel_distance(*sets).value or 0.0,
        {"torch-fidelity": partial(their_kernel_distance, *sets)},
        rounds=2,
    )

    error = kernel_distance(*sets).standard_error
    assert error is not None
    assert abs(result.peers["torch-fidelity"].value - result.ours.value) < 5 * error


def test_precision_and_recall_take_less_time(race: Race, sets: tuple[Tensor, Tensor]) -> None:
    real, generated = sets

    result = race(
        "Precision and recall (ours: + density, coverage, authenticity, intervals)",
        lambda: (
            measure_pairs(real, generated, neighbours=Neighbours(k=K))["precision"].value or 0.0
        ),
        {"torch-fidelity": lambda: their_precision_and_recall(real, generated)[0]},
        rounds=2,
    )

    assert result.peers["torch-fidelity"].value == pytest.approx(result.ours.value, abs=1e-7)
    assert result.ratio("torch-fidelity") > 1


def test_the_cost_grows_as_the_number_of_pairs(
    race: Race, report: Callable[[str], None], sets: tuple[Tensor, Tensor]
) -> None:
    real, generated = (
        torch.cat([each, features(10_000, seed=seed)]) for seed, each in enumerate(sets, 3)
    )

    lines = [f"Growth of all metrics of pairs with N, d = {DIM}"]
    for count in (1000, 2000, 5000, 10_000, 20_000):
        result = race(
            f"All metrics of pairs of {count} + {count} images",
            lambda count=count: (  # type: ignore[misc]
                measure_pairs(
                    real[:count], generated[:count], kernel=Kernel(), neighbours=Neighbours(k=K)
                )["kd"].value
                or 0.0
            ),
            {},
            rounds=2,
        )
        pairs = 2 * count**2
        nanoseconds = result.ours.seconds / pairs * 1e9
        lines.append(
            f"  {count:>6} images {result.ours.seconds:8.3f} s  {nanoseconds:6.2f} ns per pair"
        )
    report("\n".join(lines))


def peak_memory_of(count: int, dim: int) -> tuple[float, float]:
    """Return megabytes of memory with the features alone, and at the peak of measuring them."""
    script = textwrap.dedent(f"""
        import resource
        import torch
        from evaluation.metrics.pairwise import Kernel, Neighbours, measure_pairs

        def megabytes():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        warm = torch.randn(60, {dim})
        measure_pairs(warm, warm, kernel=Kernel(), neighbours=Neighbours(k={K}))
        real, generated = torch.randn({count}, {dim}), torch.randn({count}, {dim})
        before = megabytes()
        measure_pairs(real, generated, kernel=Kernel(), neighbours=Neighbours(k={K}))
        print(before, megabytes())
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    before, after = map(float, done.stdout.split())
    return before, after


def copies_of(count: int, dim: int) -> float:
    """Return the megabytes of the centred copies of two sets."""
    return 2 * count * dim * 4 / 2**20


def test_fifty_thousand_images_need_little_memory(report: Callable[[str], None]) -> None:
    count, lines = 50_000, []
    rest = 0.0
    for many, dim in ((count, 128), (5000, DIM)):  # what grows with N, and what grows with D
        before, after = peak_memory_of(many, dim)
        beside = max(after - before - copies_of(many, dim), 0)
        rest += beside
        lines.append(
            f"  measured at {many} + {many}, d = {dim}: {after - before:.0f} MiB, "
            f"{beside:.0f} MiB beside the centred copies"
        )

    total = copies_of(count, DIM) + rest
    report(
        "Memory above the features\n"
        + "\n".join(lines)
        + f"\n  so at {count} + {count}, d = {DIM}, at most: {total:.0f} MiB"
    )
    assert total < 1.5 * 1024
