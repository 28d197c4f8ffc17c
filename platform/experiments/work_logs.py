"""Logs of a run's jobs: kept while a worker is at them, read afterwards by those who may.

A log is no result: no row names it, no backup must have it, and it goes with the row of its job.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied

from accounts.models import User
from catalog import stored
from experiments.models import Evaluation, Experiment, Run, SampleSet
from experiments.overview import EXPERIMENT_OF
from experiments.ownership import may_change
from jobs import kept_log
from jobs.kept_log import KeptLog
from jobs.logs import Doing
from jobs.models import Job

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 5  # between two uploads into a bucket; what came later goes with a host that dies
KINDS = {kind.type_name(): kind for kind in EXPERIMENT_OF}


@contextmanager
def kept(job: Job) -> Iterator[None]:
    """Keep what is logged about an attempt of a run, a sample set or an evaluation."""
    if type(job) not in EXPERIMENT_OF:
        yield
        return
    log, root = KeptLog(Doing(job.type_name(), job.pk, job.attempt)), logging.getLogger()
    root.addHandler(log)
    try:
        with _uploading(log.path):
            yield
    finally:
        root.removeHandler(log)
        log.close()
        if log.problem:
            logger.warning("%s: the log is not whole: %s", stored.name_of(log.path), log.problem)


@contextmanager
def _uploading(path: Path) -> Iterator[None]:
    """Have the bucket follow the file, if there is one; what it does not take stays here."""
    if not stored.bucket():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_upload, args=[path, ended], name="log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _upload(path: Path, ended: threading.Event) -> None:
    uploaded = None
    while True:
        is_last = ended.wait(UPLOAD_SECONDS)
        try:
            if uploaded != (now := path.stat().st_mtime_ns):
                stored.put(path)
                uploaded = now
        except OSError as error:
            logger.warning("%s: not uploaded: %s", stored.name_of(path), error)
        if is_last:
            return


# --- reading ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One attempt of a job, whose log may be there."""

    job: Run | SampleSet | Evaluation
    number: int

    @property
    def path(self) -> Path:
        return kept_log.path_of(self.job.type_name(), self.job.pk, self.number)

    def text(self) -> str:
        """Return the whole log, at most LOG_BYTES.

        Raises:
            FileNotFoundError: if nothing was kept, or it was deleted.
            BucketError: if the bucket does not answer.
        """
        with stored.opened(self.path) as file:
            return file.read().decode(errors="replace")


def attempts(job: Run | SampleSet | Evaluation) -> list[Attempt]:
    """Return the attempts of a job, the newest first; without a bucket those that have a log."""
    found = [Attempt(job, number) for number in range(job.attempt, 0, -1)]
    return found if stored.bucket() else [each for each in found if each.path.exists()]


def experiment_of(job: Job) -> Experiment:
    """Return the experiment of a run, a sample set or an evaluation."""
    row = job.sample_set if isinstance(job, Evaluation) else job
    assert isinstance(row, Run | SampleSet), "other kinds of jobs keep no log"
    return row.entry.experiment


def require_reader(user: User | AnonymousUser, job: Job) -> None:
    """Refuse an account that may not read what the machine said of a job: as with tracebacks.

    Raises:
        PermissionDenied: saying who may.
    """
    if not may_change(user, experiment_of(job)):
        raise PermissionDenied(f"only who submitted it and admins may read the log of {job}")
