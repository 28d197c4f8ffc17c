"""Standard output and error that cannot undo a command's work, whatever they are connected to.

A character that the terminal cannot show is replaced by a plain one. A reader that has gone away
or a full disk ends the printing, not the work: the command writes its files as if nothing had
happened, and its exit status tells at the end.
"""

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

EXIT_NOT_PRINTED = 2  # a full disk, a broken device
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells have it

PLAIN = {"±": "+/-", "–": "-", "−": "-", "…": "...", "×": "x", "↑": "^", "↓": "v", "→": "->"}
PLAIN |= {"δ": "delta", "η": "eta", "μ": "mu", "ρ": "rho", "σ": "sigma", "χ": "chi", "∞": "inf"}


def plain(character: str) -> str:
    """Return a character, or what stands for it, in ASCII."""
    base = unicodedata.normalize("NFD", character).encode("ascii", "ignore")
    escaped = character.encode("ascii", "backslashreplace")
    return PLAIN.get(character) or (base or escaped).decode("ascii")


def _encode_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(plain, error.object[error.start : error.end])), error.end


codecs.register_error("plain", _encode_plain)


class _Outlet(io.FileIO):
    """A file descriptor that keeps its first failure; what is written after that is dropped."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.failure is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failure = error
        return len(data)


@contextmanager
def any_terminal() -> Iterator[None]:
    """Let nothing that is printed in this context fail.

    A standard stream that is closed takes everything and shows nothing. A command that succeeded
    ends with the status 141 if the reader went away (`| head`), and with 2, after a sentence, if
    a stream could not be written (a full disk); one that failed keeps its own status.
    """
    outlets = {"standard output": _outlet(sys.stdout), "standard error": _outlet(sys.stderr)}
    sys.stdout, sys.stderr = map(_text, outlets.values(), (sys.stdout, sys.stderr))
    try:
        yield
    except SystemExit as end:
        if end.code:
            _tell_failures(outlets)
            raise
    if status := _tell_failures(outlets):
        raise SystemExit(status)


def _outlet(stream: TextIO | None) -> _Outlet:
    descriptor = os.open(os.devnull, os.O_WRONLY) if stream is None else stream.fileno()
    return _Outlet(descriptor, "wb", closefd=False)


def _text(outlet: _Outlet, old: TextIO | None) -> TextIO:
    """Return a stream of text as Python had opened it, with plain characters for others."""
    direct = getattr(old, "write_through", False)  # `python -u`
    return io.TextIOWrapper(
        outlet if direct else io.BufferedWriter(outlet),  # as Python does
        encoding=old.encoding if old else "utf-8",
        errors="plain",
        line_buffering=getattr(old, "line_buffering", False),
        write_through=direct,
    )


def _tell_failures(outlets: dict[str, _Outlet]) -> int:
    """Say what could not be written, and return the exit status for it, 0 if all was."""
    sys.stdout.flush()
    sys.stderr.flush()
    status = 0
    for name, outlet in outlets.items():
        if isinstance(outlet.failure, BrokenPipeError):
            status = status or EXIT_BROKEN_PIPE
        elif outlet.failure is not None:
            sys.stderr.write(f"error: {name}: {outlet.failure.strerror}\n")
            status = EXIT_NOT_PRINTED
    return status
