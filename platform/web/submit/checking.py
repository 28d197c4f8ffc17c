"""What is wrong with a draft, in the form's own words, and what it will cost if nothing is."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.models import Experiment
from experiments.submission.costs import Cost, costs_of, total_of
from experiments.submission.joining import JoiningSpec, is_joining, read_joining
from experiments.submission.specification import (
    MAX_IMAGES,
    MAX_SECONDS,
    ExperimentSpec,
    SpecificationError,
    read_experiment,
)
from web.submit.draft import Data, as_yaml, to_data

TAKEN = "another experiment has this name"


@dataclass(frozen=True)
class Checked:
    """A draft that was looked at: its errors by field, or what it would make."""

    data: Data
    errors: Mapping[str, str]
    spec: ExperimentSpec | None
    costs: list[Cost]

    @property
    def total(self) -> Cost:
        return total_of(self.costs)

    @property
    def yaml(self) -> str:
        return as_yaml(self.data)

    @property
    def is_searched(self) -> bool:
        """Whether entries differ in how often they are trained: trials of a search."""
        return any(entry.search for entry in self.spec.entries) if self.spec else False

    @property
    def runs(self) -> int:
        """Return how many trainings, or draws of pipelines, the draft would make."""
        return sum(map(self.spec.runs_of, self.spec.entries)) if self.spec else 0


def checked(draft: Data, *, lenient: bool = False) -> Checked:
    """Return what is wrong with a draft; `lenient`: but for what is empty yet."""
    data = to_data(draft)
    spec, errors = None, {}
    try:
        spec = _whole(read_joining(data)) if is_joining(data) else read_experiment(data)
    except SpecificationError as error:
        errors = dict(error.errors)
    name = str(data.get("name", "")).strip()
    if name and Experiment.objects.filter(name=name).exists():
        errors.setdefault("name", TAKEN)
    told = in_own_words(errors, draft)
    if lenient:
        empty = {"name", "amount", "seeds", "dataset", "protocols", "entries"}
        empty = {path for path in empty if not draft[path]}
        empty |= {
            f"entries.{place}.{name}"
            for place, entry in enumerate(draft["entries"])
            for name in ("pipeline", "revision")
            if not entry.get("pipeline")
        }
        told = {path: text for path, text in told.items() if path not in empty}
    return Checked(data, told, spec, costs_of(spec) if spec else [])


def _whole(joining: JoiningSpec) -> ExperimentSpec:
    """Return what joins as an experiment of its own, for what is counted and said of it."""
    joined = joining.experiment
    return ExperimentSpec(
        name=joined.name,
        dataset=joined.dataset,
        protocols=list(joined.protocols.all()),
        budget_images=None,
        budget_seconds=None,
        seeds=joined.seeds,
        memory_gb=joined.memory_gb,
        entries=joining.entries,
        tags=[],
    )


def in_own_words(errors: Mapping[str, str], draft: Data) -> dict[str, str]:
    """Return each error at a field of the form, as it is said there."""
    told: dict[str, str] = {}
    for path, text in errors.items():
        first = path.partition(".")[0]
        if first == "budget":
            told["amount"] = _budget_words(draft)
        elif path == "protocols":
            told["protocols"] = "Tick at least one protocol."
        elif first == "protocols":
            told.setdefault("protocols", _sentence(text))
        elif path == "entries":
            told["entries"] = _sentence(text) if draft["entries"] else "Add at least one entry."
        else:
            told[path] = _sentence(text)
    return told


def _budget_words(draft: Data) -> str:
    if draft["unit"] == "images":
        return f"Expected a whole number of images, 1 to {MAX_IMAGES:,}, got {draft['amount']!r}."
    return f"Expected 1 to {MAX_SECONDS:,} seconds, got {draft['amount']!r}."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + "." * (not text.endswith("."))
