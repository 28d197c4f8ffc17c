"""`python -m evaluation` without a process of its own, which would load torch once more.

This module stands in for `subprocess`, as far as catalog.engine uses that.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from subprocess import DEVNULL, PIPE
from types import SimpleNamespace

from evaluation.__main__ import main

__all__ = ["DEVNULL", "PIPE", "Popen"]


@contextmanager
def Popen(command: Sequence[str], **_: object) -> Iterator[SimpleNamespace]:  # noqa: N802  # its name
    """Yield a process that has ended already."""
    assert command[:3] == [sys.executable, "-m", "evaluation"]
    stderr = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(stderr):
        status = main(command[3:])
    stderr.seek(0)
    yield SimpleNamespace(stderr=stderr, returncode=status, kill=lambda: None)
