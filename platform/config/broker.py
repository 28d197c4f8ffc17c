"""Celery's filesystem transport, made safe against a kill between two system calls.

kombu writes a message under its final name and moves it through the system's temporary folder; a
process that dies in between leaves half a message, which ends every worker that reads it. Here a
message appears and is taken by a rename, and what cannot be read is dropped: a message only rings
the bell, and a bell that nobody answered is rung again.
"""

import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)
EVENTS = "celeryev"  # workers tell each other of themselves; nobody here listens


class Channel(filesystem.Channel):
    """Messages as files that are whole whenever they can be seen."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:  # type: ignore[override]  # kombu's two stubs differ
        if queue == EVENTS:
            return  # a file every two seconds that nobody takes away
        name = f"{time.time_ns():020d}_{uuid.uuid4()}.{queue}.msg"
        temporary = Path(self.data_folder_out) / f".new-{name}"
        temporary.write_text(dumps(payload))
        temporary.rename(temporary.with_name(name))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for path in sorted(Path(self.data_folder_in).glob(f"[0-9]*.{queue}.msg")):
            taken = path.with_name(f".taken-{path.name}")
            try:
                path.rename(taken)  # of two workers only one succeeds
            except FileNotFoundError:
                continue
            try:
                return loads(taken.read_text())
            except ValueError:
                logger.warning("dropped a message that is no JSON: %s", path.name)
            finally:
                taken.unlink()
        raise Empty

    def get_table(self, exchange: str) -> Any:
        """Return the exchange's bindings; without a table, Celery's own: one queue of its name."""
        self._drop_if_damaged(exchange)
        own = filesystem.exchange_queue_t(exchange, "", exchange)
        return super().get_table(exchange) or [own]

    def _queue_bind(
        self, exchange: str, routing_key: str | None, pattern: str | None, queue: str
    ) -> None:
        self._drop_if_damaged(exchange)
        super()._queue_bind(exchange, routing_key or "", pattern or "", queue)

    def _drop_if_damaged(self, exchange: str) -> None:
        """Remove an exchange's table that was cut short; the next binding writes it again."""
        path = Path(self.control_folder) / f"{exchange}.exchange"
        try:
            loads(path.read_text())
        except FileNotFoundError:
            return
        except ValueError:
            path.unlink(missing_ok=True)


class Transport(filesystem.Transport):
    """What `filesystem://` means here."""

    Channel = Channel
