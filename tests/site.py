"""A whole site in a folder of its own: real commands, real workers, a real web server."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.servers import free_port, listens, wait_until

ROOT = Path(__file__).resolve().parents[1]


class Site:
    """Processes that share one data folder; `close` ends all of them."""

    def __init__(self, data: Path, **variables: str) -> None:
        path = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
        self.data = data
        self.port = free_port()
        self.env = {
            **os.environ,
            "PYTHONPATH": path,
            "DATA_DIR": str(data),
            "BEAT_SECONDS": "1",
            "LEASE_SECONDS": "6",
            "TORCH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **variables,
        }
        self.env.pop("DJANGO_SETTINGS_MODULE", None)
        self.processes: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a Python command to its end."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", *arguments, check=check)

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a Python command in a process group of its own, logging to the data folder."""
        with (self.data / f"process-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.env | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_worker(
        self,
        name: str = "one",
        *,
        concurrency: int = 1,
        app: str = "config",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a worker with the README's command."""
        options = ["-A", app, "worker", "-n", f"{name}@%h", "-Q", "gpu,default"]
        options += ["-c", str(concurrency), "-l", "INFO"]
        return self.start("-m", "celery", *options, env=env)

    def start_web(self) -> str:
        """Start the web server and return its address."""
        self.web = self.start("manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}")
        wait_until(lambda: listens(self.port), seconds=60, what="the web server")
        return self.address

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Return what the REST interface answers."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """Return what the site answers."""
        with urllib.request.urlopen(f"{self.address}{path}", timeout=30) as answer:  # noqa: S310  # loopback
            return bytes(answer.read())

    def make_token(self) -> str:
        """Return an API token of a new administrator."""
        names = ["--username", "alice", "--email", "a@example.org"]
        self.manage("createsuperuser", "--noinput", *names)
        return self.manage("api_token", "alice").stdout.strip()

    def post(self, path: str, *, token: str, body: dict[str, Any] | None = None) -> Any:
        """Send a POST with a token and return what the REST interface answers."""
        headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310  # loopback
            f"{self.address}{path}",
            method="POST",
            headers=headers,
            data=json.dumps(body).encode() if body else b"",
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # loopback
            return json.load(answer)

    def log(self) -> str:
        """Return the end of every process's log, for the message of a failing test."""
        logs = sorted(self.data.glob("process-*.log"))
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in logs)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and its children as a power cut would."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()

    def close(self) -> None:
        for process in self.processes:
            self.kill(process)
