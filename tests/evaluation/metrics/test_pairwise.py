"""The shared sweep: one pass gives what several give, in parts, in float32 and when interrupted."""

import json
from unittest.mock import patch

import numpy as np
import pytest
import torch

from evaluation.metrics.kernel_distance import kernel_distance
from evaluation.metrics.neighbours import neighbour_metrics
from evaluation.metrics.pairs.distances import SquaredDistances
from evaluation.metrics.pairs.points import Rows, prepare, unit_rows
from evaluation.metrics.pairs.tiles import each_tile, products
from evaluation.metrics.pairwise import Kernel, Neighbours, measure_pairs
from evaluation.metrics.uncertainty import Features, MetricResult

NAMES = {"kd", "precision", "recall", "density", "coverage", "authenticity"}


def normal(seed: int, count: int, dim: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)) * scale


def all_of(
    real: Features, generated: Features, train: Features | None = None
) -> dict[str, MetricResult]:
    return measure_pairs(real, generated, kernel=Kernel(), neighbours=Neighbours(k=3), train=train)


def error_of(result: MetricResult) -> float:
    return result.standard_error or 0.0


def test_one_sweep_gives_what_one_for_each_gives() -> None:
    real, generated, train = normal(0, 300, 8), normal(1, 200, 8), normal(2, 150, 8)

    together = all_of(real, generated, train)

    apart = neighbour_metrics(real, generated, k=3, train=train).results
    assert together == {"kd": kernel_distance(real, generated), **apart}
    assert together.keys() == NAMES


def test_only_what_is_asked_for_is_measured() -> None:
    real, generated = normal(0, 30, 8), normal(1, 20, 8)

    assert measure_pairs(real, generated) == {}
    assert measure_pairs(real, generated, kernel=Kernel()).keys() == {"kd"}
    neighbours = measure_pairs(real, generated, neighbours=Neighbours(k=1))
    assert neighbours.keys() == NAMES - {"kd"}


def test_normalisation_is_for_neighbours_alone() -> None:
    real, generated = normal(0, 300, 8), normal(1, 200, 8)

    found = measure_pairs(
        real, generated, kernel=Kernel(), neighbours=Neighbours(k=3, normalise=True)
    )

    unit = neighbour_metrics(real, generated, k=3, normalise=True).results
    assert found == {"kd": kernel_distance(real, generated), **unit}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 0.7, 0.2])
def test_neither_blocks_nor_the_way_of_counting_change_a_number(scale: float, dtype: str) -> None:
    real = normal(0, 700, 24).astype(dtype)
    generated = normal(1, 600, 24, scale=scale).astype(dtype)

    whole = all_of(real, generated)
    with patch("evaluation.metrics.pairs.points.BLOCK", 64):
        with patch("evaluation.metrics.pairs.sweeps.TOGETHER", 500):
            cut = all_of(real, generated)
        with patch("evaluation.metrics.pairs.sweeps.DENSE", -1.0):
            dense = all_of(real, generated)

    for other in (cut, dense):
        kernel = other.pop("kd")
        assert kernel.value == pytest.approx(whole["kd"].value, abs=1e-6)
        assert kernel.standard_error == pytest.approx(whole["kd"].standard_error, rel=1e-3)
        for name, result in other.items():
            assert result.value == whole[name].value
            assert error_of(result) == pytest.approx(error_of(whole[name]), rel=1e-9)


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_several_threads_give_what_one_gives(scale: float) -> None:
    real = normal(0, 700, 24).astype(np.float32)
    generated = normal(1, 600, 24, scale=scale).astype(np.float32)
    threads = torch.get_num_threads()

    with patch("evaluation.metrics.pairs.points.BLOCK", 64):
        one = all_of(real, generated)
        with patch("evaluation.metrics.pairs.tiles.cores", return_value=3):
            several = [all_of(real, generated) for _ in range(3)]

    assert several == [one] * 3
    assert torch.get_num_threads() == threads


def test_either_library_of_products_gives_the_same() -> None:
    real, generated = (normal(seed, 600, 32).astype(np.float32) for seed in (0, 1))

    with patch("torch.backends.cpu.get_cpu_capability", return_value="AVX2"):
        plain = all_of(real, generated)
    with patch("torch.backends.cpu.get_cpu_capability", return_value="AVX512"):
        packed = all_of(real, generated)

    for name in NAMES:
        assert packed[name].value == pytest.approx(plain[name].value, abs=1e-6)


def test_products_of_rows_with_each_other_mirror_themselves() -> None:
    rows = torch.from_numpy(normal(0, 701, 20))

    found = products(rows, rows)

    assert torch.equal(found, found.T)
    assert found.numpy() == pytest.approx((rows @ rows.T).numpy(), abs=1e-12)


def test_float32_features_give_the_counts_of_their_float64_values() -> None:
    real, generated = (
        normal(0, 1500, 128).astype(np.float32),
        normal(1, 1400, 128).astype(np.float32),
    )

    narrow, wide = all_of(real, generated), all_of(real.astype(float), generated.astype(float))

    for name in NAMES - {"kd"}:
        assert narrow[name].value == wide[name].value
        assert error_of(narrow[name]) == pytest.approx(error_of(wide[name]), rel=0.02)
    assert narrow["kd"].value == pytest.approx(wide["kd"].value, abs=1e-6)


def test_sets_of_different_types_are_compared_in_float64() -> None:
    real, generated = normal(0, 100, 8), normal(1, 90, 8).astype(np.float32)

    assert all_of(real, generated) == all_of(real, generated.astype(np.float64))


def test_tensors_and_arrays_give_the_same() -> None:
    real, generated = normal(0, 100, 8), normal(1, 90, 8)

    assert all_of(torch.from_numpy(real), torch.from_numpy(generated)) == all_of(real, generated)


def test_features_are_left_as_they_were() -> None:
    real, generated = normal(0, 100, 8).astype(np.float32), normal(1, 90, 8).astype(np.float32)
    before = real.copy(), generated.copy()

    all_of(real, generated)
    measure_pairs(real, generated, neighbours=Neighbours(k=1, normalise=True))

    assert np.array_equal(real, before[0]) and np.array_equal(generated, before[1])


def test_the_precision_of_products_is_left_as_it_was() -> None:
    before = torch.get_float32_matmul_precision()

    all_of(normal(0, 100, 8), normal(1, 90, 8))

    assert torch.get_float32_matmul_precision() == before


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = all_of(normal(0, 100, 8), normal(1, 90, 8))
    drawn = torch.rand(1), np.random.rand()  # noqa: NPY002

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    assert (torch.rand(1), np.random.rand()) == drawn  # noqa: NPY002
    assert all_of(normal(0, 100, 8), normal(1, 90, 8)) == first


@pytest.mark.parametrize("threads", [1, 3])
def test_work_ends_between_tiles_when_it_is_told_to(threads: int) -> None:
    calls = 0

    def stop_at_the_fifth() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise InterruptedError

    with (
        patch("evaluation.metrics.pairs.points.BLOCK", 32),
        patch("evaluation.metrics.pairs.tiles.cores", return_value=threads),
        pytest.raises(InterruptedError),
    ):
        measure_pairs(
            normal(0, 100, 8), normal(1, 90, 8), kernel=Kernel(), keep_going=stop_at_the_fifth
        )

    assert calls == 5


def test_results_are_plain_values() -> None:
    for result in all_of(normal(0, 100, 8), normal(1, 90, 8)).values():
        record = result.to_record()
        assert json.loads(json.dumps(record)) == record


def test_features_that_are_not_finite_or_of_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite features"):
        all_of(np.full((60, 2), np.nan), np.zeros((60, 2)))
    with pytest.raises(ValueError, match="expected features of equal width, got 3 and 2"):
        all_of(np.zeros((60, 2)), np.zeros((60, 3)))
    with pytest.raises(ValueError, match="expected features of equal width, got 2 and 2 and 3"):
        all_of(np.zeros((60, 2)), np.zeros((60, 2)), np.zeros((60, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_squared_distances_from_products_are_within_their_bound(
    dtype: torch.dtype, offset: float
) -> None:
    first = torch.from_numpy(normal(0, 300, 200) + offset).to(dtype)
    second = torch.from_numpy(normal(1, 250, 200, scale=0.5) - offset).to(dtype)
    a, b = prepare(Rows(first), Rows(second))
    distances = SquaredDistances(a, b)
    columns, rows = (each.ravel() for each in np.meshgrid(np.arange(250), np.arange(300)))

    exact = distances.exact(rows, columns).reshape(300, 250)
    bound = distances.error(rows, columns).reshape(300, 250)

    (squared,) = each_tile(a, b, distances.of, lambda: None)
    assert (np.abs(squared.numpy() - exact) <= bound).all()
    assert (np.abs(distances.strip(np.arange(300), precise=False) - exact) <= bound).all()
    finer = distances.error(rows, columns, unit=2.0**-53).reshape(300, 250)
    assert (np.abs(distances.strip(np.arange(300), precise=True) - exact) <= finer).all()
    expected = ((first.double()[:, None] - second.double()) ** 2).sum(-1).numpy()
    assert exact == pytest.approx(expected[np.ix_(a.order, b.order)], rel=1e-12)


def test_equal_rows_are_found_wherever_they_stand() -> None:
    rows = np.array([[1.0, 2], [0, 3], [1, 2], [-0.0, 3], [2, 1], [1, 2]])

    (points,) = prepare(Rows(torch.from_numpy(rows)))

    copies = {tuple(rows[points.order[place]]): points.copies[place] for place in points.single}
    assert copies == {(1, 2): 3, (0, 3): 2, (2, 1): 1}
    assert sorted(points.order[points.single]) == [0, 1, 4]  # the first of each


def test_rows_of_unit_length_keep_rows_of_zeros() -> None:
    rows = unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 2.0]]))

    assert torch.allclose(rows.at(np.arange(3)), torch.tensor([[0.6, 0.8], [0, 0], [0, 1]]))
    assert torch.allclose(rows.mean(), torch.tensor([0.2, 0.6]))
