"""What somebody submits, read from plain data; every wrong value is reported at its field.

The admin form, the REST interface and YAML files all go through here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from catalog.models import Dataset, Protocol
from catalog.names import name_problem
from experiments import asked, controls
from experiments.models import Entry
from experiments.searches.models import laid_out
from experiments.submission import autoencoders, grids, pipelines, searching
from experiments.submission.guided import one_by_one
from experiments.submission.plain import read_number
from experiments.submission.reading import (
    EntrySpec as EntrySpec,
    Reader as Reader,
    SpecificationError as SpecificationError,
)
from experiments.tags.words import read_words
from generators.specs import registry
from generators.specs.conditions import ConditionError
from generators.specs.latent import LatentOptions
from generators.specs.options import (
    LARGEST_SIDE,
    SMALLEST_SIDE,
    ConfigError,
    TrainingConfig,
    Value,
    parse,
    to_dict,
)

MAX_IMAGES = 10**12
MAX_SECONDS = 10**9
MAX_SEEDS = 100
MAX_SEED = 2**31 - 1
MAX_ENTRIES = 50
MAX_SAMPLERS = 20
MAX_MEMORY_GB = 10_000
LONGEST_NAME = 200  # of a protocol
KNOWN = (
    *("name", "dataset", "protocols", "budget", "seeds", "memory_gb", "entries"),
    *("tags", "notify"),
)


@dataclass(frozen=True)
class ExperimentSpec:
    """A whole comparison, ready to be written; without a budget where nothing is trained."""

    name: str
    dataset: Dataset
    protocols: list[Protocol]
    budget_images: int | None
    budget_seconds: float | None
    seeds: list[int]
    memory_gb: int
    entries: list[EntrySpec]
    tags: list[str]
    notify: bool | None = None  # who submits it is told when it ends; None = as it prefers

    def runs_of(self, entry: EntrySpec) -> int:
        """Return how many trainings an entry is; a search's first trial counts those to come, too."""
        if entry.search is None:
            return len(self.seeds)
        if entry.trial != 1:
            return entry.search.runs
        later = entry.search.trials - laid_out(entry.search.method, entry.search.trials)
        return entry.search.runs * (1 + later) + len(self.seeds)


def read_experiment(data: Mapping[str, Any]) -> ExperimentSpec:
    """Return the experiment that plain data describes.

    `{"name", "dataset": slug, "protocols": [fingerprint, its beginning or a name], "budget": {"images": n}
    or {"device_seconds": s}, "seeds": [0, 1] or a count, "memory_gb": what training and sampling need
    of a device (0), "tags": words that it is found by, "notify": whether who submits it is told when
    it ends, "entries": [{"algorithm", "label", "preset", "config": {}, "grid": {}, "search": {},
    "samplers": [{"name", …}]}]}`

    An entry that is sampled here and trained elsewhere has instead of an algorithm a "pipeline": the
    folder of one in the site's storage, or a hub id with its "revision"; where all are such, there is
    no budget. A sampler whose "guidance" is a list of scales stands for one at each of them.
    Numbers may come as text: of a form, or of YAML, where `1e3` is one.
    A configuration is the algorithm's defaults, then the preset's values, then those of "config".
    An entry with a "grid", options to several values each, stands for one of each combination;
    one with a "search" for its trials, see `searching`.

    Raises:
        SpecificationError: with every wrong field.
    """
    reader = Reader()
    reader.unknown("", data, KNOWN)
    name = _read_name(reader, data.get("name"))
    dataset = _read_dataset(reader, data.get("dataset"))
    protocols = _read_protocols(reader, data.get("protocols"), dataset)
    images, seconds = _read_budget(reader, data.get("budget"), data.get("entries"))
    seeds = _read_seeds(reader, data.get("seeds", 1))
    memory_gb = _read_memory(reader, data.get("memory_gb", 0))
    tags = _read_tags(reader, data.get("tags"))
    notify = _read_notify(reader, data.get("notify"))
    entries = read_entries(reader, data.get("entries"))
    entries = searching.measured(reader, entries, protocols, seeds)
    if dataset is not None:
        _check_fit(reader, dataset, protocols, entries)
        entries = [_with_autoencoder(reader, dataset, entry) for entry in entries]
    reader.finish()
    assert dataset is not None, "a missing dataset is an error above"
    return ExperimentSpec(
        name, dataset, protocols, images, seconds, seeds, memory_gb, entries, tags, notify
    )


def _check_fit(
    reader: Reader, dataset: Dataset, protocols: list[Protocol], entries: list[EntrySpec]
) -> None:
    """Refuse what would fail only after hours of training or sampling."""
    is_told = True
    if not entries or any(entry.kind == Entry.Kind.GENERATOR for entry in entries):
        is_told = _check_dataset(reader, dataset)
    for entry in entries:
        if entry.kind == Entry.Kind.PIPELINE:
            pipelines.check_fit(reader, entry.path, dataset, protocols, entry)
        else:
            _check_generator(reader, entry.path, dataset, entry, is_told)


def _check_dataset(reader: Reader, dataset: Dataset) -> bool:
    """Return whether models of a dataset are told what its images show; refuse what none learns."""
    if not SMALLEST_SIDE <= dataset.resolution <= LARGEST_SIDE:
        reader.wrong(
            "dataset",
            f"expected images of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side, "
            f"{dataset} has {dataset.resolution}",
        )
    try:
        return asked.conditions_of(dataset).given
    except ConditionError as error:
        reader.wrong("dataset", f"captions of {dataset}: {error}")
        return True


def _check_generator(
    reader: Reader, path: str, dataset: Dataset, entry: EntrySpec, is_told: bool
) -> None:
    config = parse(registry.get_spec(entry.algorithm).config, entry.config)
    shape = (dataset.channels, dataset.resolution, dataset.resolution)
    if problems := config.shape_problems(shape):
        reader.take(f"{path}.config", ConfigError(problems))
    if getattr(config, "text_encoder", ""):  # a path is not for strangers to choose
        reader.wrong(
            f"{path}.config.text_encoder",
            "expected none: on the platform every training has a text encoder of its own",
        )
    if problems := asked.unlearnable(dataset, config):
        reader.take(f"{path}.config", ConfigError(problems))
    trained = replace(config, conditional=config.conditional and is_told)
    for place, sampler in zip(entry.places, entry.samplers, strict=True):
        try:
            registry.parse_sampler(entry.algorithm, sampler, trained)
        except ConfigError as error:
            reader.take(f"{path}.samplers.{place}", error)


def _with_autoencoder(reader: Reader, dataset: Dataset, entry: EntrySpec) -> EntrySpec:
    """Return the entry with the folder of the autoencoder that it takes, if it takes one."""
    wanted = entry.config.get("autoencoder")
    if not wanted:
        return entry
    config = parse(registry.get_spec(entry.algorithm).config, entry.config)
    if not isinstance(config, LatentOptions):
        return entry
    try:
        folder = autoencoders.find(str(wanted), config, dataset)
    except ValueError as error:
        reader.wrong(f"{entry.path}.config.autoencoder", str(error))
        return entry
    return replace(entry, config={**entry.config, "autoencoder": folder})


def _read_name(reader: Reader, name: object) -> str:
    if problem := name_problem(name, 200):
        reader.wrong("name", problem)
        return ""
    return str(name).strip()


def _read_dataset(reader: Reader, slug: object) -> Dataset | None:
    dataset = Dataset.objects.filter(slug=slug).first() if isinstance(slug, str) else None
    if dataset is None:
        known = ", ".join(Dataset.objects.values_list("slug", flat=True)) or "none yet"
        reader.wrong("dataset", f"expected a registered dataset ({known}), got {slug!r}"[:300])
    return dataset


def _read_protocols(
    reader: Reader, fingerprints: object, dataset: Dataset | None
) -> list[Protocol]:
    if not isinstance(fingerprints, list) or not fingerprints:
        reader.wrong("protocols", "expected a list of at least one protocol fingerprint")
        return []
    found: list[Protocol] = []
    for index, beginning in enumerate(fingerprints):
        matches = find_protocols(beginning, dataset)
        if len(matches) != 1:
            message = f"expected the fingerprint or name of one protocol, got {beginning!r}"[:300]
            several = " and ".join(match.label for match in matches[:3])
            reader.wrong(
                f"protocols.{index}", message + (f", which {several} have" * bool(several))
            )
            continue
        (protocol,) = matches
        if dataset is not None and protocol.dataset_id != dataset.pk:
            message = f"the protocol measures {protocol.dataset}, not {dataset}"
            reader.wrong(f"protocols.{index}", message)
        elif protocol.refusal:
            reader.wrong(f"protocols.{index}", f"{protocol.label}: {protocol.refusal}")
        elif problem := asked.problem(protocol, found):
            reader.wrong(f"protocols.{index}", problem)
        elif protocol not in found:
            found.append(protocol)
    return found


def find_protocols(text: object, dataset: Dataset | None) -> list[Protocol]:
    """Return protocols whose fingerprint begins so, two at most; else the dataset's of the name."""
    if not isinstance(text, str) or not 8 <= len(text) <= LONGEST_NAME:
        return []
    matches = list(Protocol.objects.filter(fingerprint__startswith=text)[:2])
    if not matches and dataset is not None:
        named = Protocol.objects.filter(dataset=dataset, name=text)
        matches = [protocol for protocol in named if not protocol.refusal]
    return matches


def _read_budget(
    reader: Reader, budget: object, entries: object
) -> tuple[int | None, float | None]:
    if isinstance(entries, list) and entries and all(map(pipelines.is_pipeline, entries)):
        if budget is not None:
            reader.wrong("budget", "expected none: pipelines alone are not trained here")
        return None, None
    wanted = 'expected {"images": n} or {"device_seconds": s}, exactly one of them'
    if not isinstance(budget, Mapping) or len(budget) != 1:
        reader.wrong("budget", f"{wanted}, got {budget!r}"[:300])
        return None, None
    ((unit, amount),) = budget.items()
    number = read_number(amount)
    if unit == "images" and isinstance(number, int) and 1 <= number <= MAX_IMAGES:
        return number, None
    if unit == "device_seconds" and number is not None and 1 <= number <= MAX_SECONDS:
        return None, float(number)
    limits = f"of 1 to {MAX_IMAGES:,} images or {MAX_SECONDS:,} seconds"
    reader.wrong("budget", f"{wanted}, {limits}, got {dict(budget)!r}"[:300])
    return None, None


def _read_seeds(reader: Reader, seeds: object) -> list[int]:
    count = read_number(seeds)
    if isinstance(count, int) and 1 <= count <= MAX_SEEDS:
        return list(range(count))
    if isinstance(seeds, list) and 1 <= len(seeds) <= MAX_SEEDS:
        whole = [number for number in map(read_number, seeds) if isinstance(number, int)]
        if len(set(whole)) == len(seeds) and all(0 <= seed <= MAX_SEED for seed in whole):
            return whole
    wanted = f"expected a count of 1 to {MAX_SEEDS}, or a list of different seeds in 0..{MAX_SEED}"
    reader.wrong("seeds", f"{wanted}, got {seeds!r}"[:300])
    return []


def _read_memory(reader: Reader, memory_gb: object) -> int:
    number = read_number(memory_gb)
    if isinstance(number, int) and 0 <= number <= MAX_MEMORY_GB:
        return number
    reader.wrong("memory_gb", f"expected 0 to {MAX_MEMORY_GB} GB, got {memory_gb!r}"[:300])
    return 0


def _read_tags(reader: Reader, given: object) -> list[str]:
    try:
        return [] if given is None else read_words(given)
    except ValueError as error:
        reader.wrong("tags", str(error))
        return []


def _read_notify(reader: Reader, notify: object) -> bool | None:
    known = {None: None, True: True, False: False, "true": True, "false": False}  # of YAML: text
    if isinstance(notify, bool | str | None) and notify in known:
        return known[notify]
    reader.wrong("notify", f"expected true or false, got {notify!r}"[:300])
    return None


def read_entries(reader: Reader, entries: object) -> list[EntrySpec]:
    """Return the entries that plain data describes, but for those that are wrong."""
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
        reader.wrong("entries", f"expected a list of 1 to {MAX_ENTRIES} entries")
        return []
    placed = searching.expanded(reader, grids.expanded(reader, entries))
    if len(placed) > MAX_ENTRIES:
        reader.wrong(
            "entries",
            f"their grids and searches make {len(placed)}, expected at most {MAX_ENTRIES}",
        )
        return []
    read = [(each, _read_entry(reader, each.path, each.entry, each.varied)) for each in placed]
    specs = [searching.as_trial(each, spec) for each, spec in read if spec is not None]
    labels: set[str] = set()
    for label, path in searching.labels(specs):
        if label in labels or controls.is_taken(label):
            reader.wrong(f"{path}.label", f"{label!r} is taken, expected another")
        labels.add(label)
    return specs


def _read_entry(reader: Reader, path: str, entry: object, varied: str) -> EntrySpec | None:
    if not isinstance(entry, Mapping):
        reader.wrong(path, f"expected an entry with an algorithm, got {entry!r}"[:300])
        return None
    if pipelines.is_pipeline(entry):
        return pipelines.read_pipeline(reader, path, entry, MAX_SAMPLERS)
    known = {"label", "algorithm", "preset", "config", "samplers"}
    reader.unknown(f"{path}.", entry, known)
    algorithm = entry.get("algorithm")
    if not isinstance(algorithm, str) or algorithm not in registry.ALGORITHMS:
        known_names = ", ".join(registry.ALGORITHMS)
        reader.wrong(f"{path}.algorithm", f"expected one of {known_names}, got {algorithm!r}"[:300])
        return None
    errors_before = len(reader.errors)
    preset = _read_preset(reader, f"{path}.preset", algorithm, entry.get("preset"))
    config = _read_config(reader, f"{path}.config", algorithm, entry.get("config"), preset=preset)
    given = entry.get("samplers")
    samplers, places = _read_samplers(reader, f"{path}.samplers", algorithm, config, given)
    default = registry.get_spec(algorithm).label
    label = reader.label(path, entry.get("label"), default, varied)
    if config is None or len(reader.errors) > errors_before:
        return None
    return EntrySpec(label, algorithm, to_dict(config), samplers, places, path=path)


def _read_preset(reader: Reader, path: str, algorithm: str, preset: object) -> str | None:
    """Return the preset's name, None where none is wanted: null or an empty text."""
    if preset is None or preset == "":
        return None
    spec = registry.get_spec(algorithm)
    if isinstance(preset, str) and preset in spec.presets:
        return preset
    reader.wrong(path, registry.unknown_preset(spec, preset))
    return None


def _read_config(
    reader: Reader, path: str, algorithm: str, config: object, *, preset: str | None
) -> TrainingConfig | None:
    config = {} if config is None else config
    if not isinstance(config, Mapping):
        reader.wrong(path, f"expected field: value pairs, got {config!r}"[:300])
        return None
    try:
        return registry.parse_config(algorithm, config, preset=preset)
    except ConfigError as error:
        reader.take(path, error)
        return None


def _read_samplers(
    reader: Reader, path: str, algorithm: str, config: TrainingConfig | None, samplers: object
) -> tuple[list[dict[str, Value]], list[int]]:
    """Return the samplers and the place of each among those given."""
    samplers = [{}] if samplers is None or samplers == [] else samplers
    each = one_by_one(samplers) if isinstance(samplers, list) else []
    if not 1 <= len(each) <= MAX_SAMPLERS:
        wanted = f"expected a list of 1 to {MAX_SAMPLERS} samplers"
        reader.wrong(path, f"{wanted}, each guidance scale is one" if each else wanted)
        return [], []
    found: dict[str, tuple[dict[str, Value], int]] = {}
    for place, sampler in each:
        try:
            if not isinstance(sampler, Mapping):
                message = f"expected a sampler with a name, got {sampler!r}"
                raise ConfigError({"name": message[:300]})
            parsed = registry.parse_sampler(algorithm, sampler, config)
        except ConfigError as error:
            reader.take(f"{path}.{place}", error)
            continue
        label = parsed.label()
        if label in found:
            reader.wrong(f"{path}.{place}", f"{label} is there already")
        found[label] = registry.sampler_to_dict(parsed), place
    return [sampler for sampler, _ in found.values()], [place for _, place in found.values()]
