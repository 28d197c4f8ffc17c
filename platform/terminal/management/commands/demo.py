"""The first comparison on one machine: `python manage.py demo`."""

import os
import secrets
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from accounts.models import Role, User
from catalog.models import Dataset, Protocol
from experiments import services
from experiments.models import Experiment
from experiments.submission.specification import SpecificationError
from terminal import following, processes


@dataclass(frozen=True)
class Comparison:
    """What is compared, and on what: entries of one budget, one for each family at least."""

    name: str
    dataset: str  # its slug
    source: Mapping[str, Any]  # options of register_dataset
    protocol: Mapping[str, Any]  # options of register_protocol
    budget: Mapping[str, float]
    quick_budget: Mapping[str, float]
    entries: Sequence[Mapping[str, Any]]


DIGITS = Comparison(
    name="GAN vs VAE vs diffusion",
    dataset="digits",
    source={"digits": True},
    protocol={},
    budget={
        "images": 25_000
    },  # digits read as asked, and no model so long in training that it copies
    quick_budget={"images": 6_000},
    entries=[
        {"algorithm": "gan.sngan", "label": "GAN"},
        {"algorithm": "vae.conv", "label": "VAE"},
        {
            "algorithm": "diffusion.ddpm",
            "label": "Diffusion",
            "samplers": [{"name": "ddim", "steps": 50}, {"name": "dpmsolver++", "steps": 15}],
        },
    ],
)
# Of few images many small steps teach most, and Muon's most of all. Shown its own estimate, a model
# keeps to one colour and one shape where words leave them open.
WELL_TAUGHT = {
    "batch_size": 8,
    "learning_rate": 1.4e-3,
    "optimiser": "muon",
    "self_conditioning": True,
    "label_dropout": 0.0,
    "time_sampling": "logit-normal",
}
WALK = {"name": "euler", "steps": 120, "eta": 1}  # without guidance, under which objects vanish
SCENES = Comparison(
    name="Pictures of scenes from words",
    dataset="scenes",
    source={"packaged": "scenes32"},
    protocol={"preset": "scenes-prompts", "images_per_prompt": 8},
    budget={"device_seconds": 535},
    quick_budget={"device_seconds": 10},
    entries=[
        {
            "algorithm": "diffusion.flow",
            "label": "Diffusion",
            "config": {
                **WELL_TAUGHT,
                "prediction": "x0",
                "patch": 2,
                "time_shift": 2.2,
                "base_channels": 32,
                "channel_multipliers": "1,2",
                "adaptive_norm": True,
                "norm_channels": 4,
            },
            "samplers": [WALK],
        },
        {
            "algorithm": "latent.flow",
            "label": "Latent diffusion",
            "preset": "tiny",
            "config": {**WELL_TAUGHT, "autoencoder_share": 0.4},
            "samplers": [WALK],
        },
        {
            "algorithm": "vae.vq",
            "label": "VAE",
            "preset": "tiny",
            "config": {"codebook_size": 512, "prior_width": 128, "prior_share": 0.7},
        },
        {"algorithm": "gan.dcgan", "label": "GAN", "preset": "tiny"},
    ],
)


class Command(BaseCommand):
    help = "Train, sample and compare a GAN, a VAE and a diffusion model on handwritten digits."
    requires_system_checks: list[str] = []  # the database may not be there yet

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exit", action="store_true", help="stop when the board is complete")
        parser.add_argument("--json", metavar="FILE", type=Path, help="write the board's rows")
        parser.add_argument("--seeds", type=int, default=1, help="trainings per entry (default 1)")
        parser.add_argument("--port", type=int, default=8000, help="of the site (default 8000)")
        parser.add_argument("--quick", action="store_true", help="a much smaller training budget")
        parser.add_argument(
            "--text",
            action="store_true",
            help="compare how models of all families follow captions of scenes instead, 25 minutes",
        )
        parser.add_argument("--data", metavar="DIR", type=Path, help="data folder (default var/)")

    def handle(self, *args: Any, **options: Any) -> None:
        self.console = Console(file=sys.stdout)
        check(options)
        if options["data"] is not None:
            go_to(options["data"].resolve())
        with following.interruptible(self.console):
            if not self.run(options):
                raise SystemExit(1)

    def run(self, options: dict[str, Any]) -> bool:
        """Return whether every job of the comparison completed."""
        with ExitStack() as stack:
            lock = stack.enter_context(following.Lock("demo.lock"))
            if not lock.take():
                raise CommandError(f"another demo is running in {settings.DATA_DIR}")
            experiment = self.prepare(options)
            web = processes.web(port=options["port"])
            stack.callback(web.stop)
            concurrency = 2 if (os.cpu_count() or 1) > 1 else 1
            own = stack.enter_context(following.OwnWorker("demo", concurrency=concurrency))
            worker = own.start()
            address = f"http://127.0.0.1:{options['port']}{experiment.get_absolute_url()}"
            self.console.print(f"Serving [bold]{address}[/]  (logs in {worker.log.parent})")
            following.follow(experiment, self.console, partial(look_after, web, own))
            complete = following.report(experiment, self.console, options["json"])
            if not options["exit"]:
                self.console.print(f"The site goes on at {address} until Ctrl-C.")
                keep_alive(worker, web)
        return complete

    def prepare(self, options: dict[str, Any]) -> Experiment:
        """Return the comparison, with everything it needs, made where it is missing."""
        comparison = SCENES if options["text"] else DIGITS
        slug = comparison.dataset
        call_command("migrate", verbosity=0)
        self.make_admin()
        if not Dataset.objects.filter(slug=slug).exists():
            call_command("register_dataset", slug, **comparison.source, stdout=sys.stdout)
        dataset = Dataset.objects.get(slug=slug)
        if all(protocol.refusal for protocol in dataset.protocols.all()):
            call_command("register_protocol", slug, **comparison.protocol, stdout=sys.stdout)
        usable = [p for p in dataset.protocols.order_by("created_at") if not p.refusal]
        return self.submit(comparison, usable[0], options)

    def make_admin(self) -> None:
        if User.objects.filter(role=Role.ADMIN).exists():
            return
        password = secrets.token_urlsafe(9)
        User.objects.create_superuser("admin", password=password)
        self.console.print(f"Account for /admin/: admin, password {password} (shown only once)")

    def submit(
        self, comparison: Comparison, protocol: Protocol, options: dict[str, Any]
    ) -> Experiment:
        name = comparison.name + (" (quick)" if options["quick"] else "")
        name += f", {options['seeds']} seeds" if options["seeds"] > 1 else ""
        if found := Experiment.objects.filter(name=name).first():
            retried = services.retry_experiment(found, user=None)
            self.console.print(
                f"Found {name!r}" + (f", {retried} jobs tried again" * bool(retried))
            )
            return found
        data = {
            "name": name,
            "dataset": protocol.dataset.slug,
            "protocols": [protocol.fingerprint],
            "budget": dict(comparison.quick_budget if options["quick"] else comparison.budget),
            "seeds": options["seeds"],
            "entries": comparison.entries,
        }
        try:
            return services.submit_data(data, user=User.objects.filter(role=Role.ADMIN).first())
        except SpecificationError as error:
            raise CommandError(str(error)) from error


def check(options: dict[str, Any]) -> None:
    """Refuse options that cannot work before anything is made."""
    if not 1 <= options["seeds"] <= 100:
        raise CommandError(f"--seeds: expected 1 to 100, got {options['seeds']}")
    if not 1 <= options["port"] <= 65535:
        raise CommandError(f"--port: expected 1 to 65535, got {options['port']}")
    following.check_json(options["json"])
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


def look_after(web: processes.Child, worker: following.OwnWorker) -> None:
    """See that the site is still served and that the worker works."""
    if not web.is_alive():
        raise CommandError(f"the web server ended:\n{web.tail()}")
    worker.look()


def keep_alive(worker: processes.Child, web: processes.Child) -> None:
    """Serve until Ctrl-C or until a process ends by itself."""
    while worker.is_alive() and web.is_alive():
        time.sleep(0.5)
    ended = web if worker.is_alive() else worker
    raise CommandError(f"the {ended.name} ended:\n{ended.tail()}")
