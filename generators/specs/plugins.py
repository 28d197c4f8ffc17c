"""What other packages bring by entry points; what cannot be loaded is left out, with its fault."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugin:
    """What an entry point of another package names."""

    package: str  # its distribution's name and version
    entry_point: str  # "vae.toy = toy_vae.spec:SPEC"
    value: object


@dataclass(frozen=True)
class LeftOut:
    """A plugin that was left out, and why."""

    package: str
    entry_point: str
    fault: str

    def __str__(self) -> str:
        return f"{self.package}: entry point {self.entry_point}: {self.fault}"


def load_plugins(group: str) -> tuple[list[Plugin], list[LeftOut]]:
    """Return what the group's entry points name, and those that could not be loaded."""
    plugins, left_out = [], []
    for point in entry_points(group=group):
        place = (_package(point), f"{point.name} = {point.value}")
        try:
            with _torch_free(), redirect_stdout(sys.stderr):  # stdout is a command's result
                plugins.append(Plugin(*place, point.load()))
        except (Exception, SystemExit) as error:  # whatever a stranger's module does
            left_out.append(LeftOut(*place, in_words(error)))
            logger.info("%s", left_out[-1], exc_info=error)
    return plugins, left_out


def in_words(error: BaseException) -> str:
    """Return an error as a line: its text alone where we wrote it."""
    text = " ".join(str(error).split())
    ours = type(error).__module__.startswith("generators.")
    return (text if ours else f"{type(error).__name__}: {text}")[:1000]


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


class _NoTorch:
    """Finds torch for nobody: forms and the API load plugins as well, and must stay light."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] == "torch":
            raise ImportError(f"{name} is imported; only the implementation's module may do that")
        return None


@contextmanager
def _torch_free() -> Iterator[None]:
    """Let nothing import torch that is not there already."""
    sys.meta_path.insert(0, _NoTorch)
    try:
        yield
    finally:
        sys.meta_path.remove(_NoTorch)
