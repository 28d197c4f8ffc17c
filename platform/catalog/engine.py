"""The evaluation engine in another process: this one never imports torch."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

Report = Callable[[str], None]  # a line about progress, for people
REFUSED = "error: "  # how the engine's command begins the line that says what is wrong


class RegistrationError(ValueError):
    """Something cannot be registered; the message says what and why."""


def words(given: Mapping[str, Any]) -> list[str]:
    return [text for name, value in given.items() if value for text in (name, str(value))]


def silent(line: str) -> None:
    pass


def run_evaluation(arguments: list[str], report: Report, *, what: str) -> dict[str, Any]:
    """Run `python -m evaluation` and return the JSON it writes; its log lines go to `report`.

    In another process: this one never imports torch.

    Raises:
        RegistrationError: if it fails; the message begins with `what` and ends with its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        lines: list[str] = []
        with subprocess.Popen(  # noqa: S603  # our own module, arguments of our own making
            [sys.executable, "-m", "evaluation", *arguments, "--json", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        ) as process:
            assert process.stderr is not None, "it was asked for"
            try:
                for line in map(str.rstrip, process.stderr):
                    lines.append(line)
                    if not line.startswith(REFUSED):  # told by the exception
                        report(line)
            except BaseException:  # who listens wants no more
                process.kill()
                raise
        if out.exists():  # of a test that failed too, whose status says so
            answer: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return answer
    raise RegistrationError(f"{what}: {last_words(lines, process.returncode)}")


def last_words(lines: list[str], status: int) -> str:
    """Return the refusal that the process wrote, or the end of what it wrote."""
    if lines and lines[-1].startswith(REFUSED):
        return lines[-1].removeprefix(REFUSED)
    return f"python -m evaluation ended with {status}: " + ("\n".join(lines[-20:]) or "no message")


def _environment() -> dict[str, str]:
    paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if settings.TORCH_THREADS:
        environment["OMP_NUM_THREADS"] = str(settings.TORCH_THREADS)
    return environment
