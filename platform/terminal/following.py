"""Following an experiment to its end: a worker of the command's own, bars, the board at last."""

import fcntl
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from django.core.management.base import CommandError
from django.db import connections
from rich.console import Console
from rich.markup import escape

from evaluation.imagesets.atomic import replacing
from experiments.comparison import ExperimentJobs
from experiments.models import Experiment
from experiments.overview import unserved_queues
from jobs import lifecycle
from jobs.models import Job, Status, Worker
from leaderboards import export
from leaderboards.ranking import rank
from terminal import processes
from terminal.bars import ProgressView, board_table

LOOK_SECONDS = 1.0  # between two looks at the rows
RESTARTS = 5  # of a worker that died, before the command gives up
INTERRUPTED = 130


class OwnWorker:
    """A worker of this command: ended with it, and what it was doing is queued again at once."""

    def __init__(self, name: str, *, concurrency: int) -> None:
        self.name = name
        self.child: processes.Child | None = None
        self._concurrency = concurrency
        self._restarts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.child is None:
            return
        self.child.stop()
        connections.close_all()
        lifecycle.requeue_lost(
            of=Worker.objects.filter(name__startswith=f"{self.name}@", pid=self.child.process.pid)
        )

    def start(self) -> processes.Child:
        """Start the worker."""
        self.child = processes.worker(self.name, concurrency=self._concurrency)
        return self.child

    def look(self) -> None:
        """Start it again if it has died.

        Raises:
            CommandError: if it has died too often.
        """
        if self.child is None or self.child.is_alive():
            return
        self._restarts += 1
        if self._restarts > RESTARTS:
            tail = self.child.tail()
            raise CommandError(f"the worker ended {self._restarts} times:\n{tail}")
        self.child.start()


def follow(experiment: Experiment, console: Console, look: Callable[[], None]) -> None:
    """Show progress until every job is finished; `look` keeps the work going."""
    view = ProgressView(console)
    with view.progress:
        while not view.show(experiment):
            look()
            time.sleep(LOOK_SECONDS)


def needs_a_worker(experiment: Experiment) -> bool:
    """Return whether jobs of the experiment are in a queue that no living worker serves.

    Those that a lost worker holds, too: only a living one takes them back.
    """
    open_queues = {job.queue for job in experiment.jobs() if not job.is_finished}
    return bool(unserved_queues(open_queues, Worker.objects.all()))


def report(experiment: Experiment, console: Console, json_file: Path | None) -> bool:
    """Write all rows, print the boards and what failed, return whether every job completed."""
    boards = [rank(protocol, experiment=experiment) for protocol in experiment.protocols.all()]
    if json_file is not None:
        write_json(json_file, [row for board in boards for row in export.rows(board)])
    for board in boards:
        console.print(board_table(board))
    jobs = ExperimentJobs.of(experiment)
    for job in (unfinished := _unfinished(jobs.all)):
        console.print(f"[red]{escape(f'{job}: {job.status}: {job.reason}')}[/]")
    lost = _unfinished(jobs.runs)
    console.print(f"{len(jobs.runs) - len(lost)} of {len(jobs.runs)} runs completed")
    return not unfinished


def _unfinished(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job.status != Status.COMPLETED]


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    text = json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def check_json(path: Path | None) -> None:
    """Refuse a file that could not be written at the end."""
    if path is not None and not path.resolve().parent.is_dir():
        raise CommandError(f"--json: the folder {path.resolve().parent} does not exist")


@contextmanager
def interruptible(console: Console) -> Iterator[None]:
    """Turn every polite way to end the command into one exit, after everything was cleaned up."""
    for ending in (signal.SIGTERM, signal.SIGHUP):  # killed, or its terminal was closed
        signal.signal(ending, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on where this one ended.")
        raise SystemExit(INTERRUPTED) from None


class Lock:
    """A file in the data folder that one process holds at a time, until it ends."""

    def __init__(self, name: str) -> None:
        self._file = (Path(settings.DATA_DIR) / name).open("w")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def take(self) -> bool:
        """Return whether this process holds the lock now."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
