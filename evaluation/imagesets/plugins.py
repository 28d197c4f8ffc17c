"""What other packages bring by entry points; what cannot be loaded is left out, with its fault."""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

HEAVY = ("torch", "numpy")  # never loaded where names and options are: forms and boards are light

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """A distribution that brings plugins."""

    name: str  # as indexes have it: "toy-vae" of "Toy_VAE"
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class LeftOut:
    """A plugin that was left out, and why."""

    package: Package
    entry_point: str
    fault: str

    def __str__(self) -> str:
        return f"{self.package}: entry point {self.entry_point}: {self.fault}"


@dataclass(frozen=True)
class Plugin:
    """What an entry point of another package names."""

    package: Package
    entry_point: str  # "vae.toy = toy_vae.spec:SPEC"
    value: object

    def left_out(self, error: Exception) -> LeftOut:
        """Return it as one that is left out."""
        return LeftOut(self.package, self.entry_point, _in_words(error))


def load_plugins(group: str) -> tuple[list[Plugin], list[LeftOut]]:
    """Return what the group's entry points name, and those that could not be loaded.

    Both are in the order of their packages' names.
    """
    plugins, left_out = [], []
    found = [(_package(point), point) for point in entry_points(group=group)]
    for package, point in sorted(found, key=lambda pair: (str(pair[0]), pair[1].name)):
        place = (package, f"{point.name} = {point.value}")
        try:
            with _importing_plugins():
                plugins.append(Plugin(*place, point.load()))
        except (Exception, SystemExit) as error:  # whatever a stranger's module does
            left_out.append(LeftOut(*place, _in_words(error)))
            logger.info("%s", left_out[-1], exc_info=error)
    return plugins, left_out


def _in_words(error: BaseException) -> str:
    """Return an error as a line: its text alone where we wrote it."""
    text = " ".join(str(error).split())
    ours = type(error).__module__.startswith(("generators.", "evaluation."))
    return (text if ours else f"{type(error).__name__}: {text}")[:1000]


def _package(point: EntryPoint) -> Package:
    assert point.dist is not None  # entry_points() looks for them in distributions
    name, version = str(point.dist.name), str(point.dist.version)  # None without METADATA
    return Package(re.sub(r"[-_.]+", "-", name).lower(), version)


class _NothingHeavy:
    """Finds torch and numpy for nobody: forms and the API load plugins too, and must stay light."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in HEAVY:
            raise ImportError(f"{name} is imported; only the implementation's module may do that")
        return None


@contextmanager
def _importing_plugins() -> Iterator[None]:
    """Refuse whoever imports torch or numpy in this context, and keep stdout for the command.

    Modules are refused also where both are loaded already: a plugin is the same in any process.
    """
    loaded = {name: sys.modules.pop(name) for name in HEAVY if name in sys.modules}
    sys.meta_path.insert(0, _NothingHeavy)
    try:
        with redirect_stdout(sys.stderr):  # stdout is a command's result
            yield
    finally:
        sys.meta_path.remove(_NothingHeavy)
        sys.modules.update(loaded)
