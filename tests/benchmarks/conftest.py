"""Races against other implementations in this process: the same work, in turns, the best of each.

`pytest tests/benchmarks` prints, for every race, each one's seconds and value and how many times
slower than ours it is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pytest

PATIENCE = 20  # seconds after which a contestant is not run again


@dataclass
class Contestant:
    """One implementation: the best time of its runs, in seconds, and the value of the last."""

    run: Callable[[], float]
    seconds: float = float("inf")
    spent: float = 0.0
    value: float = float("nan")

    def take_turn(self) -> None:
        """Run once, unless it has taken long enough already."""
        if self.spent > PATIENCE:
            return
        begin = time.perf_counter()
        self.value = self.run()
        taken = time.perf_counter() - begin
        self.seconds, self.spent = min(self.seconds, taken), self.spent + taken


@dataclass(frozen=True)
class Result:
    """The end of a race: our seconds and value, and those of each peer by name."""

    ours: Contestant
    peers: Mapping[str, Contestant] = field(default_factory=dict)

    def ratio(self, peer: str) -> float:
        """Return how many times longer ``peer`` takes than we do."""
        return self.peers[peer].seconds / self.ours.seconds

    def __str__(self) -> str:
        lines = [f"  ours            {self.ours.seconds:9.3f} s  value {self.ours.value:.8g}"]
        for name, peer in self.peers.items():
            lines.append(
                f"  {name:<15} {peer.seconds:9.3f} s  value {peer.value:.8g}  "
                f"= {self.ratio(name):.2f} x ours"
            )
        return "\n".join(lines)


class Race(Protocol):
    """Runs ours and its peers in turns, prints and returns the result."""

    def __call__(
        self,
        what: str,
        ours: Callable[[], float],
        peers: Mapping[str, Callable[[], float]],
        *,
        rounds: int = 3,
    ) -> Result: ...


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Return a function that prints a text although pytest holds back what tests print."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", flush=True)  # noqa: T201 - benchmarks are read in the terminal

    return write


@pytest.fixture
def race(report: Callable[[str], None]) -> Race:
    """Return a function that runs one race."""

    def run(
        what: str,
        ours: Callable[[], float],
        peers: Mapping[str, Callable[[], float]],
        *,
        rounds: int = 3,
    ) -> Result:
        result = Result(Contestant(ours), {name: Contestant(peer) for name, peer in peers.items()})
        for _ in range(rounds):
            for contestant in (result.ours, *result.peers.values()):
                contestant.take_turn()
        report(f"{what}\n{result}")
        return result

    return run
