"""The first comparison on one machine: `python manage.py demo`."""

import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections
from rich.console import Console

from accounts.models import User
from catalog.models import Dataset, Protocol
from experiments import services
from experiments.models import Experiment
from experiments.specification import SpecificationError
from jobs import lifecycle
from jobs.models import Status, Worker
from leaderboards import export
from leaderboards.ranking import rank
from web.management import processes
from web.management.progress import ProgressView, board_table

NAME = "GAN vs VAE vs diffusion"
BUDGET_IMAGES = 25_000  # digits read as asked, and no model so long in training that it copies
QUICK_BUDGET_IMAGES = 6_000
ENTRIES = [
    {"algorithm": "gan.sngan", "label": "GAN"},
    {"algorithm": "vae.conv", "label": "VAE"},
    {
        "algorithm": "diffusion.ddpm",
        "label": "Diffusion",
        "samplers": [{"name": "ddim", "steps": 50}, {"name": "dpmsolver++", "steps": 15}],
    },
]
RESTARTS = 5  # of a worker that died, before the demo gives up


class Command(BaseCommand):
    help = "Train, sample and compare a GAN, a VAE and a diffusion model on handwritten digits."
    requires_system_checks: list[str] = []  # the database may not be there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exit", action="store_true", help="stop when the board is complete")
        parser.add_argument("--json", metavar="FILE", type=Path, help="write the board's rows")
        parser.add_argument("--seeds", type=int, default=1, help="trainings per entry (default 1)")
        parser.add_argument("--port", type=int, default=8000, help="of the site (default 8000)")
        parser.add_argument("--quick", action="store_true", help="a much smaller training budget")
        parser.add_argument("--data", metavar="DIR", type=Path, help="data folder (default var/)")

    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(file=sys.stdout)
        check(options)
        if options["data"] is not None:
            go_to(options["data"].resolve())
        for ending in (signal.SIGTERM, signal.SIGHUP):  # killed, or its terminal was closed
            signal.signal(ending, signal.default_int_handler)
        try:
            complete = self.run(options)
        except KeyboardInterrupt:
            self.console.print("Stopped. The same command goes on where this one ended.")
            raise SystemExit(130) from None
        if not complete:
            raise SystemExit(1)

    def run(self, options: dict[str, Any]) -> bool:
        """Return whether every job of the comparison completed."""
        with ExitStack() as stack:
            stack.enter_context(only_one())
            experiment = self.prepare(options)
            web = processes.web(port=options["port"])
            stack.callback(web.stop)
            worker = processes.worker(concurrency=2 if (os.cpu_count() or 1) > 1 else 1)
            stack.callback(stop_worker, worker)
            address = f"http://127.0.0.1:{options['port']}{experiment.get_absolute_url()}"
            self.console.print(f"Serving [bold]{address}[/]  (logs in {worker.log.parent})")
            self.follow(experiment, worker, web)
            complete = self.report(experiment, options["json"])
            if not options["exit"]:
                self.console.print(f"The site goes on at {address} until Ctrl-C.")
                keep_alive(worker, web)
        return complete

    def prepare(self, options: dict[str, Any]) -> Experiment:
        """Return the comparison, with everything it needs, made where it is missing."""
        call_command("migrate", verbosity=0)
        self.make_admin()
        if not Dataset.objects.filter(slug="digits").exists():
            call_command("register_dataset", "digits", digits=True, stdout=sys.stdout)
        dataset = Dataset.objects.get(slug="digits")
        if all(protocol.refusal for protocol in dataset.protocols.all()):
            call_command("register_protocol", "digits", stdout=sys.stdout)
        usable = [p for p in dataset.protocols.order_by("created_at") if not p.refusal]
        return self.submit(usable[0], options)

    def make_admin(self) -> None:
        if User.objects.filter(is_superuser=True).exists():
            return
        password = secrets.token_urlsafe(9)
        User.objects.create_superuser("admin", password=password)
        self.console.print(f"Account for /admin/: admin, password {password} (shown only once)")

    def submit(self, protocol: Protocol, options: dict[str, Any]) -> Experiment:
        name = NAME + (" (quick)" if options["quick"] else "")
        name += f", {options['seeds']} seeds" if options["seeds"] > 1 else ""
        if found := Experiment.objects.filter(name=name).first():
            retried = services.retry_experiment(found)
            self.console.print(
                f"Found {name!r}" + (f", {retried} jobs tried again" * bool(retried))
            )
            return found
        data = {
            "name": name,
            "dataset": protocol.dataset.slug,
            "protocols": [protocol.fingerprint],
            "budget": {"images": QUICK_BUDGET_IMAGES if options["quick"] else BUDGET_IMAGES},
            "seeds": options["seeds"],
            "entries": ENTRIES,
        }
        try:
            return services.submit_data(data, user=User.objects.filter(is_superuser=True).first())
        except SpecificationError as error:
            raise CommandError(str(error)) from error

    def follow(self, experiment: Experiment, worker: processes.Child, web: processes.Child) -> None:
        """Show progress until every job is finished; start a worker that died again."""
        restarts = 0
        view = ProgressView(self.console)
        with view.progress:
            while not view.show(experiment):
                if not web.is_alive():
                    raise CommandError(f"the web server ended:\n{web.tail()}")
                if not worker.is_alive():
                    restarts += 1
                    if restarts > RESTARTS:
                        raise CommandError(f"the worker ended {restarts} times:\n{worker.tail()}")
                    worker.start()
                time.sleep(0.5)
            view.show(experiment)

    def report(self, experiment: Experiment, json_file: Path | None) -> bool:
        """Print the board and what failed, write the rows, return whether all completed."""
        board = rank(experiment.protocols.get(), experiment=experiment)
        self.console.print(board_table(board))
        if json_file is not None:
            write_json(json_file, export.rows(board))
        unfinished = [job for job in experiment.jobs() if job.status != Status.COMPLETED]
        for job in unfinished:
            self.console.print(f"[red]{job}: {job.status}: {job.reason}[/]")
        return not unfinished


def check(options: dict[str, Any]) -> None:
    """Refuse options that cannot work before anything is made."""
    if not 1 <= options["seeds"] <= 100:
        raise CommandError(f"--seeds: expected 1 to 100, got {options['seeds']}")
    if not 1 <= options["port"] <= 65535:
        raise CommandError(f"--port: expected 1 to 65535, got {options['port']}")
    if options["json"] is not None and not options["json"].resolve().parent.is_dir():
        raise CommandError(f"--json: the folder {options['json'].resolve().parent} does not exist")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", options["port"]))
        except OSError as error:
            raise CommandError(
                f"port {options['port']} is in use; choose another one with --port"
            ) from error


def go_to(folder: Path) -> None:
    """Start again with the site in another folder: settings are read only once."""
    if folder == settings.DATA_DIR:
        return
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"--data: {folder} is not a folder")
    restart(DATA_DIR=str(folder))


def restart(**variables: str) -> NoReturn:
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **variables})  # noqa: S606  # ourselves


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the data folder for this demo alone."""
    with (settings.DATA_DIR / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"another demo is running in {settings.DATA_DIR}") from error
        yield


def stop_worker(worker: processes.Child) -> None:
    """End the worker; what it was doing goes back to the queue at once."""
    worker.stop()
    connections.close_all()
    lifecycle.requeue_lost(
        of=Worker.objects.filter(name__startswith="demo@", pid=worker.process.pid)
    )


def keep_alive(worker: processes.Child, web: processes.Child) -> None:
    """Serve until Ctrl-C or until a process ends by itself."""
    while worker.is_alive() and web.is_alive():
        time.sleep(0.5)
    ended = web if worker.is_alive() else worker
    raise CommandError(f"the {ended.name} ended:\n{ended.tail()}")


def write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    temporary.replace(path)
