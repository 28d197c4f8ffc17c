"""What a pipeline's folder is, as manifests, forms and pages name it (torch-free)."""

import hashlib
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any

from generators.specs.pipelines.classes import PARTS, PIPELINES, Asked, PipelineSpec

EXTRA = "pip install 'trilemma[text]'"


class PipelineError(ValueError):
    """A pipeline that is not drawn from, or not this way: what was expected, and what came."""


@dataclass(frozen=True)
class Component:
    """One part of a pipeline: its class, and what its files hold."""

    name: str  # such as unet
    module: str  # diffusers, transformers, or stable_diffusion for the safety checker
    class_name: str
    digest: str = ""  # sha256 over its files' names and their sha256; empty = not computed
    bytes: int = 0  # of the files that are read
    parameters: int | None = None  # None = it has no weights
    dtypes: tuple[str, ...] = ()  # of its weights, as safetensors names them
    variant: str | None = None  # of its weights' file names, such as fp16


@dataclass(frozen=True)
class PipelineCard:
    """A folder that was read, with nothing of it imported."""

    pipeline: str  # class of diffusers, of parts our algorithm; empty where the folder says none
    asked: Asked = "nothing"  # what images are asked for by
    components: tuple[Component, ...] = ()
    written_with: str = ""  # version of diffusers
    licence: str | None = None  # as the model card names it; None = it does not say
    model_card: str | None = None  # its first heading
    channels: int | None = None  # of its images; None = the folder does not say
    height: int | None = None  # in pixels, where nobody asks for another
    width: int | None = None
    num_classes: int = 0
    classes: tuple[str, ...] = ()  # their names, where the folder has them
    timesteps: int | None = None  # of its scheduler: most steps
    skips_warm_up: bool = False  # as its scheduler is set: PNDM needs no steps of Runge-Kutta
    call: dict[str, Any] = field(default_factory=dict)  # what an export of ours is to be told
    walk: str = ""  # our sampler that draws from parts; empty = the folder's scheduler does
    digest: str = ""  # of all that is read; empty = not computed
    problems: tuple[str, ...] = ()  # why it is refused

    @property
    def spec(self) -> PipelineSpec:
        """Return what is known of its class; PipelineError if it is none that is drawn from."""
        self.check()
        return {**PIPELINES, **PARTS}[self.pipeline]

    @property
    def parameters(self) -> int:
        """Return the parameters of all components."""
        return sum(part.parameters or 0 for part in self.components)

    def check(self) -> None:
        """Raise PipelineError, with every reason, unless the folder may be loaded."""
        if self.problems:
            raise PipelineError("; ".join(self.problems))

    def as_record(self) -> dict[str, Any]:
        """Return what is known, JSON-serialisable, for manifests; of a scheduler's settings nothing."""
        return {name: value for name, value in asdict(self).items() if name != "skips_warm_up"}

    def missing_extra(self) -> str | None:
        """Return what to say where a component needs a package that is not installed here."""
        names = [part.name for part in self.components if part.module != "diffusers"]
        if not names or installed("transformers"):
            return None
        return f"{', '.join(names)}: expected the package transformers, not installed: {EXTRA}"


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return find_spec(package) is not None
    except ValueError:  # it is blocked in sys.modules
        return False


def digest_of(lines: list[str]) -> str:
    """Return the sha256 of lines, in hex."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
