"""Training in two real processes on the CPU, joined by gloo as `torchrun` would join them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from generators.training.budgets import Budget
from generators.training.parallel import Team, joined
from tests.generators.conftest import TINY, exactly, train_tiny
from tests.generators.parallel_run import TRAININGS

SECONDS = 300  # after which the two processes have failed

every_algorithm = pytest.mark.parametrize("algorithm", TRAININGS)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def start(rank: int, port: int, folder: Path) -> subprocess.Popen[str]:
    torchrun = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.generators.parallel_run", str(folder)]
    return subprocess.Popen(command, env=os.environ | torchrun, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of the two processes found; started once for this module."""
    folder, port = tmp_path_factory.mktemp("parallel"), free_port()
    processes = [start(rank, port, folder) for rank in range(2)]
    try:
        errors = [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_gradients_are_averaged_and_buffers_are_the_first_processs(
    ranks: list[dict[str, Any]],
) -> None:
    for found in ranks:
        assert found["size"] == 2
        assert found["shared"]["gradients"] == [[0.5, 0.5], [0.5, 0.5]]
        assert found["shared"]["buffer"] == [5.0, 5.0]
        assert found["shared"]["votes"] == [True, False]
    assert [found["shared"]["share"] for found in ranks] == [[10, 3], [13, 3]]


@every_algorithm
def test_both_processes_end_with_the_same_weights_averages_and_moments(
    algorithm: str, ranks: list[dict[str, Any]]
) -> None:
    first, second = (found[algorithm] for found in ranks)

    assert first["whole"] == second["whole"]


@every_algorithm
def test_one_process_saves_and_both_know_of_it(algorithm: str, ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found[algorithm]["checkpoints"] == ["ckpt-32", "ckpt-56"]
        assert found[algorithm]["saved"] == ranks[0][algorithm]["saved"]


@every_algorithm
@pytest.mark.slow
def test_a_team_that_was_stopped_ends_with_the_same_bits_once_resumed(
    algorithm: str, ranks: list[dict[str, Any]]
) -> None:
    for found in (rank[algorithm] for rank in ranks):
        assert found["stopped"] == [True, 32]  # though one process alone was asked to
        assert found["resume"] == "exact"
        assert found["parts"] == found["whole"]
        assert found["resumed"] == found["saved"]


def test_a_team_saves_when_any_clock_says_so(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found["timed"] == ["ckpt-48", "ckpt-64"]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            Budget(device_seconds=5),
            "expected a budget in images: several processes have several clocks",
        ),
        (Budget(images=65), "expected a batch size and a budget that 3 processes can share"),
        (Budget(images=66), "expected a batch size and a budget that 3 processes can share"),
    ],
)
def test_what_a_team_cannot_share_is_refused(
    budget: Budget, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Team, "current", lambda: Team(rank=1, size=3))
    assert TINY["vae.conv"].batch_size % 3

    with pytest.raises(ValueError, match=exactly(message)):
        train_tiny("vae.conv", tmp_path, budget=budget)


def test_images_that_cannot_be_shared_evenly_are_refused() -> None:
    assert Team(rank=2, size=3).share(100, 9) == (106, 3)
    message = "expected batches and a budget of a multiple of 3 images"

    with pytest.raises(ValueError, match=exactly(message)):
        Team(rank=2, size=3).share(100, 10)


def test_a_process_alone_is_a_team_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")

    with joined() as place:
        assert place is None
        assert Team.current() == Team(rank=0, size=1)
