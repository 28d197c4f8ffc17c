"""One experiment: waited for, cancelled, looked into."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trilemma_client.boards import Board
from trilemma_client.errors import TrilemmaError
from trilemma_client.progress import Bar
from trilemma_client.samples import Samples, samples_of
from trilemma_client.transport import Transport

ENDED = ("completed", "failed", "cancelled")
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.5, 10.0  # between looks, ever more


class Experiment:
    """An experiment as it was when it was last asked for; `data` is all that REST says of it."""

    def __init__(self, transport: Transport, data: dict[str, Any]) -> None:
        self._transport, self.data = transport, data

    @property
    def id(self) -> int:
        return int(self.data["id"])

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def status(self) -> str:
        """Return queued, running, completed, failed or cancelled; any failed job makes it failed."""
        return str(self.data["status"])

    @property
    def protocols(self) -> list[str]:
        """Return the fingerprints of its protocols."""
        return list(self.data["protocols"])

    def __repr__(self) -> str:
        return f"<Experiment {self.id}: {self.name!r}, {self.status}>"

    def refresh(self) -> "Experiment":
        """Ask how it stands now."""
        self.data = self._transport.get(f"experiments/{self.id}/")
        return self

    def wait(self, *, timeout_seconds: float | None = None, progress: bool = True) -> "Experiment":
        """Return when all jobs have ended, whatever way: `status` says which.

        Meanwhile a bar shows how many are done, where `progress` does not say no.

        Raises:
            TimeoutError: if it takes longer; the experiment goes on.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = FIRST_LOOK_SECONDS
        with Bar(self.name, is_shown=progress) as bar:
            while not self._look(bar):
                if deadline is not None and time.monotonic() + pause > deadline:
                    raise TimeoutError(f"{self.name} is {self.status} after {timeout_seconds:g} s")
                time.sleep(pause)
                pause = min(LAST_LOOK_SECONDS, 1.5 * pause)
        return self

    def _look(self, bar: Bar) -> bool:
        """Show how far the experiment is and return whether it has ended."""
        bar.show(self.refresh().status, **self.data["progress"])
        return self.status in ENDED

    def cancel(self) -> int:
        """Cancel its queued jobs, ask running ones to stop, and return how many these were."""
        return int(self._transport.post(f"experiments/{self.id}/cancel/")["jobs"])

    def retry(self) -> int:
        """Queue its failed and cancelled jobs again and return how many these were."""
        return int(self._transport.post(f"experiments/{self.id}/retry/")["jobs"])

    def delete(self) -> None:
        """Delete it as a whole; only when all its jobs have ended."""
        self._transport.ask("DELETE", f"experiments/{self.id}/", {})

    def specification(self) -> dict[str, Any]:
        """Return what submits the same again, under another name."""
        found: dict[str, Any] = self._transport.get(f"experiments/{self.id}/spec/")
        return found

    def searches(self) -> list[dict[str, Any]]:
        """Return its searches: `objective`, what was `tried`, the `winner` and how far each is."""
        return list(self._transport.get(f"experiments/{self.id}/searches/"))

    def leaderboard(self, protocol: str | None = None, *, sort: str | None = None) -> Board:
        """Return the board of its entries, by its one protocol or by that fingerprint.

        Raises:
            TrilemmaError: if it has several protocols and none is named.
        """
        if protocol is None:
            if len(self.protocols) != 1:
                raise TrilemmaError(f"expected one of the protocols {', '.join(self.protocols)}")
            (protocol,) = self.protocols
        return Board(self._transport, protocol, experiment=self.id, sort=sort)

    def runs(self, **filters: object) -> Iterator[dict[str, Any]]:
        """Yield its trainings, the newest first: `status`, `algorithm`, `seed`."""
        return self._transport.each("runs/", {"experiment": self.id, **filters})

    def samples(self, run: int | Mapping[str, Any], *, sampler: str | None = None) -> Samples:
        """Return the images that were drawn from one of its runs; see `Client.samples`."""
        return samples_of(self._transport, run, sampler)
