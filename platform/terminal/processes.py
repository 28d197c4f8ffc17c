"""Child processes of a command: started with a log file, ended together with it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

PR_SET_PDEATHSIG = 1  # Linux: tell the child when its parent dies, however it dies


def environment(**extra: str) -> dict[str, str]:
    """Return the environment in which a child finds the project, whatever started the parent."""
    rooms = [str(settings.BASE_DIR / "platform"), str(settings.BASE_DIR)]
    path = os.pathsep.join([*rooms, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path, "DATA_DIR": str(settings.DATA_DIR), **extra}


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A process in its own group, its output in a log file."""

    def __init__(self, name: str, command: Sequence[str], *, env: dict[str, str]) -> None:
        self.name = name
        self.command = [sys.executable, *command]
        self.env = env
        self.log = Path(settings.DATA_DIR) / "log" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own command
                self.command,
                cwd=settings.BASE_DIR,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 15) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, patience_seconds: float = 3.0) -> None:
        """Ask the process to end, then end its whole group."""
        if self.is_alive():
            self.process.terminate()
            try:
                self.process.wait(patience_seconds)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def worker(name: str, *, concurrency: int) -> Child:
    """Start a Celery worker for both queues, `name` on this host."""
    command = ["-m", "celery", "-A", "config", "worker", "-n", f"{name}@%h", "-Q", "gpu,default"]
    command += ["-c", str(concurrency), "-l", "INFO", "--without-gossip", "--without-mingle"]
    return Child("worker", command, env=environment())


def web(*, port: int) -> Child:
    """Start the web server."""
    command = ["manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}"]
    return Child("web", command, env=environment())
