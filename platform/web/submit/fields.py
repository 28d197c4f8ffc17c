"""The fields of the submission form, with their words, what was typed and what is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from django.utils.functional import cached_property

from accounts.models import User
from catalog.admission import images_to_rank
from catalog.models import Dataset, Protocol
from evaluation.protocols.metrics import METRICS
from experiments.models import Experiment, Search
from experiments.ownership import changeable
from experiments.submission import offered
from experiments.submission.guided import GUIDANCE
from experiments.submission.offered import Offer
from experiments.submission.specification import MAX_MEMORY_GB
from experiments.tags.words import MOST
from generators.specs.options import FieldSpec, Value, describe
from web.submit.draft import UNITS, Data
from web.submit.filling import problem_of

MOST_JOINED = 200  # experiments to choose from, the newest
MOST_DIGITS = 18  # of a number of an experiment
SCALES = "; 0, 1, 2, 4 draws at each of these scales"
NOT_YOURS = "Expected an experiment of yours."
Errors = Mapping[str, str]
Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Field:
    """One field: its path in the submission is its name."""

    path: str
    label: str
    value: str
    error: str = ""
    about: str = ""
    hint: str = ""  # what holds where nothing is typed
    choices: Choices = ()
    refills: bool = False  # other fields change with it
    mode: str = "text"  # of a phone's keyboard

    @property
    def id(self) -> str:
        return self.path.replace(".", "-")


def shared_fields(draft: Data, errors: Errors) -> dict[str, Field]:
    """Return the fields of what all entries share, by name."""
    texts = {
        "name": ("Name", "the title of its page; no other experiment has it", "text"),
        "amount": ("Training budget", "the same for each entry and seed", "decimal"),
        "seeds": (
            "Seeds",
            "how many (3), or which (0, 1, 7): one training per entry and seed",
            "text",
        ),
        "memory_gb": (
            "Device memory, GB",
            f"only workers whose device has so much take it, up to {MAX_MEMORY_GB:,}; 0 = all",
            "numeric",
        ),
        "tags": ("Tags", f"up to {MOST} words that it is found by, commas between them", "text"),
    }
    found = {
        name: Field(name, label, draft[name], errors.get(name, ""), about, mode=mode)
        for name, (label, about, mode) in texts.items()
    }
    datasets = [(d.slug, f"{d.name} ({d.kind})") for d in Dataset.objects.all()]
    choices: dict[str, tuple[str, str, Choices]] = {
        "dataset": ("Dataset", "what models are trained on", datasets),
        "unit": (
            "Counted in",
            "images are the same work everywhere, seconds are not",
            [*UNITS.items()],
        ),
        "notify": (
            "Tell me when it ends",
            "by mail and webhooks, as your account's page has them",
            [("", "as my account prefers"), ("true", "yes"), ("false", "no")],
        ),
    }
    for name, (label, about, options) in choices.items():
        error, refills = errors.get(name, ""), name == "dataset"
        found[name] = Field(name, label, draft[name], error, about, "", options, refills)
    return found


def joined_field(draft: Data, errors: Errors, user: User) -> Field:
    """Return the choice of the experiment that pipelines join, of those the account may change."""
    own = changeable(Experiment.objects.order_by("-pk"), user).values_list("pk", "name")
    found, value = dict(own[:MOST_JOINED]), draft["experiment"]
    if value.isdecimal() and len(value) <= MOST_DIGITS and int(value) not in found:
        found |= dict(own.filter(pk=int(value)))
    choices = [("", "none: a new experiment"), *((str(pk), name) for pk, name in found.items())]
    error = errors.get("experiment", "") or NOT_YOURS * (value not in dict(choices))
    about = "with its dataset, protocols and seeds; what is trained here does not join"
    return Field("experiment", "Pipelines join", value, error, about, "", choices, refills=True)


@dataclass(frozen=True)
class ProtocolChoice:
    """A protocol that may be ticked, with why it is not from the beginning."""

    protocol: Protocol
    is_ticked: bool
    problem: str

    @property
    def is_closed(self) -> bool:
        return bool(self.protocol.refusal)

    @property
    def to_rank(self) -> int:
        """Return with how many images such a protocol would rank, 0 where these are not the reason."""
        return images_to_rank(self.protocol) if self.problem and not self.is_closed else 0


def protocol_choices(draft: Data) -> list[ProtocolChoice]:
    """Return the protocols of the draft's dataset, the newest first."""
    rows = Protocol.objects.filter(dataset__slug=draft["dataset"]).select_related("dataset")
    chosen = set(draft["protocols"])
    return [
        ProtocolChoice(row, row.fingerprint in chosen, problem_of(row))
        for row in rows.order_by("-pk")
    ]


PARTS = ("grid", "search", "search.options", "config", "samplers", "algorithm")  # of an entry
SEARCH = {  # fields of a search: label, about, mode
    "trials": ("Trials", "how many combinations are tried; empty: one entry of each", "decimal"),
    "objective": ("Best by", "a metric of the protocol", "text"),
    "method": ("Found", "tpe learns from the trials before, by Optuna", "text"),
    "runs": ("Runs of each trial", "with the first seeds; 1 if nothing is typed", "decimal"),
    "seed": ("Seed of the choice", "0 if nothing is typed", "decimal"),
}
METHODS = [(value, value) for value in Search.Method.values]


def objectives(draft: Data) -> Choices:
    """Return the metrics that the ticked protocols measure, by the names that boards have."""
    ticked = Protocol.objects.filter(fingerprint__in=draft["protocols"]).order_by("pk")
    found: dict[str, str] = {}
    for protocol in ticked:
        found |= {
            name: protocol.metric_label(name) for name in protocol.metrics if name not in found
        }
    return [*found.items()] or [(name, name) for name in METRICS]


class SamplerRow:
    """One way to draw: its name, and the fields that this sampler has."""

    def __init__(self, offer: Offer, path: str, sampler: Mapping[str, str], errors: Errors) -> None:
        self.path = path
        self.place = path.rpartition(".")[2]
        config = offer.samplers[sampler["name"]]
        is_pipeline = offer.name == offered.NAME
        names = [(name, name) for name in offer.samplers]
        error = errors.get(f"{path}.name", "")
        self.error = errors.get(path, "")
        first = Field(
            f"{path}.name", "sampler", sampler["name"], error, "", "", names, refills=True
        )
        self.fields = [] if is_pipeline and not error else [first]
        self.fields += [
            _option(
                f"{path}.{spec.name}",
                replace(spec, help=spec.help + SCALES) if spec.name == GUIDANCE else spec,
                sampler.get(spec.name, ""),
                spec.default,
                errors,
                several=spec.name == GUIDANCE,
            )
            for spec in describe(config)
        ]


class EntryPart:
    """One contender: label, preset, configuration, samplers."""

    def __init__(
        self, place: int, entry: Data, errors: Errors, *, objectives: Choices, is_open: bool
    ) -> None:
        self.place = place
        self._objectives = objectives
        self.entry = entry
        self.path = f"entries.{place}"
        self.offer = offered.find(entry["algorithm"])
        self.is_pipeline = self.offer.name == offered.NAME
        self._errors = {
            path.replace(".grid.", ".config.").replace(".search.options.", ".config."): text
            for path, text in errors.items()
            if path == self.path or path.startswith(f"{self.path}.")
        }
        self.is_open = is_open or bool(self._errors)

    @property
    def wholes(self) -> dict[str, str]:
        """Return what is wrong with the entry, or with a part of it, as a whole."""
        parts = [self.path + end for end in ("", *(f".{name}" for name in PARTS))]
        return {path: self._errors[path] for path in parts if path in self._errors}

    @property
    def error(self) -> str:
        return " ".join(self.wholes.values())

    @cached_property
    def named(self) -> list[Field]:
        """Return the fields of what the entry is called and begins from."""
        found = [self._field("label", "Label", "its name on boards")]
        if self.is_pipeline:
            here = "in pipelines/ of the site's storage, or a hub id: owner/name"
            found.append(self._field("pipeline", "Folder or hub id", here))
            found.append(self._field("revision", "Revision", "of a hub's: a commit, 40 hex digits"))
        elif self.offer.presets:
            names = [(name, self._preset_words(name)) for name in self.offer.presets]
            choices = [*names, ("", "none: the defaults, large and slow")]
            about = "where its fields begin; the images are what it is meant for"
            found.append(self._field("preset", "Preset", about, choices=choices, refills=True))
        return found

    def _preset_words(self, name: str) -> str:
        return f"{name}, {self.offer.presets[name].images:,} images"

    def _field(
        self, name: str, label: str, about: str, *, choices: Choices = (), refills: bool = False
    ) -> Field:
        path = f"{self.path}.{name}"
        value, error = self.entry.get(name, ""), self._errors.get(path, "")
        return Field(path, label, value, error, about, "", choices, refills)

    @cached_property
    def options(self) -> list[Field]:
        """Return the fields of the configuration; empty ones have the preset's values."""
        preset = self.entry.get("preset", "")
        base = offered.values(self.offer.name, preset if preset in self.offer.presets else "")
        config = self.entry["config"]
        return [
            _option(
                f"{self.path}.config.{spec.name}",
                spec,
                config.get(spec.name, ""),
                base[spec.name],
                self._errors,
                several=not self.is_pipeline,
            )
            for spec in describe(self.offer.config)
        ]

    @cached_property
    def searched(self) -> list[Field]:
        """Return the fields of a search; none for a pipeline, whose options nobody varies."""
        if self.is_pipeline:
            return []
        made = []
        for name, (label, about, mode) in SEARCH.items():
            path = f"{self.path}.search.{name}"
            value, error = self.entry.get("search", {}).get(name, ""), self._errors.get(path, "")
            choices = {"objective": self._objectives, "method": METHODS}.get(name, ())
            made.append(Field(path, label, value, error, about, "", choices, mode=mode))
        return made

    @property
    def is_searched(self) -> bool:
        return any(field.error for field in self.searched) or bool(
            self.entry.get("search", {}).get("trials")
        )

    @property
    def changed(self) -> list[Field]:
        """Return the options that were typed or are wrong: they stand before the fold."""
        return [field for field in self.options if field.value or field.error]

    @property
    def unchanged(self) -> list[Field]:
        return [field for field in self.options if not (field.value or field.error)]

    @cached_property
    def samplers(self) -> list[SamplerRow]:
        return list(self._samplers())

    def _samplers(self) -> Iterator[SamplerRow]:
        for place, sampler in enumerate(self.entry["samplers"]):
            path = f"{self.path}.samplers.{place}"
            first = next(iter(self.offer.samplers))
            known = sampler.get("name") in self.offer.samplers
            row = {**sampler, "name": sampler["name"] if known else first}
            yield SamplerRow(self.offer, path, row, self._errors)


def _option(
    path: str,
    spec: FieldSpec,
    value: str,
    default: Value,
    errors: Errors,
    *,
    several: bool = False,
) -> Field:
    """Return the field of an option, with its bounds and what holds if nothing is typed."""
    hint, about = _in_words(default), spec.help
    label, error = spec.name.replace("_", " "), errors.get(path, "")
    if spec.type == "bool" or spec.choices:
        names = spec.choices or ("true", "false")
        shown = [("", f"{hint} (as it is)"), *((name, name) for name in names if name != hint)]
        kept = value if value != hint else ""
        return Field(path, label, kept, error, about, hint, shown)
    if spec.type in ("int", "float"):
        about += f"; {spec.minimum:.12g} to {spec.maximum:.12g}"
        mode = "text" if several else "decimal"  # a list or a range makes entries
        return Field(path, label, value, error, about, hint, mode=mode)
    return Field(path, label, value, error, about, hint or "none")


def _in_words(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
