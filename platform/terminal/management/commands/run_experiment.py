"""An experiment from its file to its board: `python manage.py run_experiment FILE`."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from experiments import services
from experiments.management.commands.submit import find_account, read_file
from experiments.models import Experiment
from experiments.submission import joining
from experiments.submission.specification import SpecificationError
from terminal import following

MOST_JOBS = 64


class Command(BaseCommand):
    help = (
        "Submit the experiment of a YAML or JSON file unless it is there already, work it off, "
        "print its board; or the same of pipelines that join an experiment. The same command goes on after an interruption. Exit code 0 only if "
        "every job completed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="as for `submit`; - reads standard input")
        parser.add_argument("--user", metavar="NAME", help="account that submits it")
        parser.add_argument("--json", metavar="FILE", type=Path, help="write the boards' rows")
        parser.add_argument(
            "--retry", action="store_true", help="try what has failed or was cancelled again"
        )
        parser.add_argument(
            "--jobs",
            metavar="N",
            type=int,
            default=1,
            help="jobs at once of a worker that this command starts (default 1: a device-second "
            "is one of the whole device)",
        )

    def handle(self, *args: Any, file: str, user: str | None, **options: Any) -> None:
        self.console = Console(file=sys.stdout)
        if not 1 <= options["jobs"] <= MOST_JOBS:
            raise CommandError(f"--jobs: expected 1 to {MOST_JOBS}, got {options['jobs']}")
        following.check_json(options["json"])
        with following.interruptible(self.console):
            experiment = self.submit(file, user)
            if options["retry"] and (retried := services.retry_experiment(experiment, user=None)):
                self.console.print(f"{retried} jobs tried again")
            self.work_off(experiment, concurrency=options["jobs"])
            if not following.report(experiment, self.console, options["json"]):
                raise SystemExit(1)

    def submit(self, file: str, user: str | None) -> Experiment:
        account, data = find_account(user), read_file(file)
        try:
            experiment, is_new = services.submit_once(data, user=account)
        except SpecificationError as error:
            for path, message in error.errors.items():
                self.stderr.write(f"{path}: {message}")
            raise SystemExit(1) from error
        is_there = joining.is_joining(data)
        word = ("Joined" if is_there else "Submitted") if is_new else "Found"
        self.console.print(f"{word} experiment {experiment.pk}: {experiment.get_absolute_url()}")
        return experiment

    def work_off(self, experiment: Experiment, *, concurrency: int) -> None:
        """Follow the experiment to its end; start a worker while nobody else works for it.

        Of several of these commands in one data folder, one has a worker, the others wait for it.
        """
        worker = following.OwnWorker("run", concurrency=concurrency)
        with following.Lock("run_experiment.lock") as lock, worker:

            def look() -> None:
                if worker.child is not None:
                    worker.look()
                elif following.needs_a_worker(experiment) and lock.take():
                    log = worker.start().log
                    self.console.print(f"Started a worker (logs in {log.parent})")

            following.follow(experiment, self.console, look)
