"""Real Redis and PostgreSQL servers for the tests that need them, on free loopback ports."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import redis


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], *, seconds: float, what: str) -> None:
    """Wait for something that another process does; fail with its name when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.2)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Redis:
    """An empty Redis that keeps nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._start()

    def _start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no"]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: listens(self.port), seconds=20, what="redis-server")

    def wipe(self) -> None:
        """Forget everything, queued messages included."""
        with closing(redis.Redis.from_url(self.address)) as client:
            client.flushall()

    def restart(self) -> None:
        """End as by a power cut, stay away for a moment, and come back empty."""
        self._server.kill()
        self._server.wait()
        time.sleep(2)
        self._start()

    def close(self) -> None:
        self._server.kill()
        self._server.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the address of an empty Redis."""
    with closing(Redis()) as server:
        yield server.address


def postgres_program(name: str) -> str | None:
    """Return a PostgreSQL server program, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


class Postgres:
    """An empty PostgreSQL in a folder of its own."""

    def __init__(self) -> None:
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="trilemma-postgres-"))
        self.port = free_port()
        self.address = f"postgres://trilemma@127.0.0.1:{self.port}/postgres"
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
        self._make()
        self._start()

    def _make(self) -> None:
        initdb = postgres_program("initdb")
        assert initdb, "initdb is not installed"
        subprocess.run(
            [initdb, "-D", self._folder / "data", "-U", "trilemma", "--auth=trust", "-E", "UTF8"],
            user=self._user,
            cwd=self._folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def _start(self) -> None:
        postgres = postgres_program("postgres")
        assert postgres, "postgres is not installed"
        command = [postgres, "-D", str(self._folder / "data"), "-p", str(self.port)]
        command += ["-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self._folder / "log").open("a") as log:
            self._server = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=log, stderr=log
            )
        wait_until(lambda: listens(self.port), seconds=30, what="postgres")

    def _stop(self) -> None:
        self._server.send_signal(signal.SIGINT)  # at once, whoever is connected
        self._server.wait()

    def restart(self) -> None:
        """End every connection, stay away for a moment, and come back."""
        self._stop()
        time.sleep(2)
        self._start()

    def close(self) -> None:
        self._stop()
        shutil.rmtree(self._folder)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the address of an empty PostgreSQL database."""
    with closing(Postgres()) as server:
        yield server.address


def run_on_postgresql(*arguments: str) -> str:
    """Return what pytest prints of tests that run on an empty PostgreSQL database, and pass."""
    with postgres_server() as address:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "0", "--show-capture=no", *arguments],
            env={**os.environ, "DATABASE_URL": address},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Bucket:
    """An S3 server with one empty bucket, and the settings that lead to it."""

    def __init__(self) -> None:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._server = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.variables = {
            "S3_BUCKET": "trilemma",
            "S3_PREFIX": "site",
            "S3_ENDPOINT": address,
            "S3_REGION": "us-east-1",
            "S3_ACCESS_KEY": "somebody",
            "S3_SECRET_KEY": "something",
        }
        wait_until(lambda: listens(port), seconds=60, what="the S3 server")
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key="something",  # noqa: S106  # any will do
        )
        client.create_bucket(Bucket="trilemma")
        self.client = client

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket="trilemma").get("Contents", [])
        return sorted(item["Key"].removeprefix("site/") for item in found)

    def close(self) -> None:
        self._server.kill()
        self._server.wait()
