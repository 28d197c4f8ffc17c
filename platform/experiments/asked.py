"""What the samples of an experiment are asked for by: labels by one rule, or prompts in turn."""

from collections.abc import Iterable, Sequence

from catalog.models import Dataset, Protocol
from evaluation.protocols.labels import in_words
from evaluation.protocols.prompts import PromptSet
from experiments.models import Entry, Experiment
from generators.specs.conditions import LARGEST_NUM_CLASSES, ConditionError, Conditions
from generators.specs.mirroring import mirror_warning, mirrored_words
from generators.specs.options import TrainingConfig
from jobs.lifecycle import JobError


def learns_words(dataset: Dataset) -> bool:
    """Return whether models of a dataset learn its captions; where there are classes, it is these."""
    return dataset.has_captions and not dataset.classes


def conditions_of(dataset: Dataset) -> Conditions:
    """Return what models of a dataset are told.

    Raises:
        ConditionError: if captions have too many words to be learned.
    """
    if dataset.captions is None or not learns_words(dataset):
        return Conditions.of_classes(dataset.num_classes)
    told = dataset.captions["train"]
    if told["words"] > len(dataset.captions["words"]):
        raise ConditionError(
            f"expected at most {len(dataset.captions['words']):,} different words, got "
            f"{told['words']:,}"
        )
    if told["shortest"] < 1:
        raise ConditionError("expected words in every caption, one has none")
    return Conditions(words=tuple(dataset.captions["words"]), length=told["longest"])


def unlearnable(dataset: Dataset, config: TrainingConfig) -> dict[str, str]:
    """Return what a configuration wants of captions that these do not give, by field."""
    found = {}
    if getattr(config, "cross_attention", False) and not learns_words(dataset):
        found["cross_attention"] = f"expected false: models of {dataset} learn no words"
    if config.captions_as == "classes" and config.conditional:
        found |= _unlearnable_classes(dataset)
    return found


def _unlearnable_classes(dataset: Dataset) -> dict[str, str]:
    if dataset.captions is None or not learns_words(dataset):
        return {"captions_as": f"expected words: models of {dataset} learn no captions"}
    distinct = dataset.captions["train"]["distinct"]
    if distinct <= LARGEST_NUM_CLASSES:
        return {}
    most = f"at most {LARGEST_NUM_CLASSES:,} distinct captions, to be classes"
    return {"captions_as": f"expected {most}; {dataset} has {distinct:,}"}


def warnings(dataset: Dataset, entries: Iterable[Entry]) -> list[str]:
    """Return what entries are told of images and yet cannot learn, a sentence each."""
    texts = dataset.classes or (dataset.captions or {}).get("words", [])
    return [
        f"{entry.label}: {mirror_warning(words, 'horizontal_flip')}."
        for entry in entries
        if (words := mirrored_words(entry.config, texts))
    ]


def problem(protocol: Protocol, before: Sequence[Protocol]) -> str:
    """Return why samples cannot be asked for as a protocol wants, "" if they can.

    All protocols of an experiment score the same samples, so they ask for them in one way.
    """
    return _label_problem(protocol, before) or _prompt_problem(protocol, before)


def _label_problem(protocol: Protocol, before: Sequence[Protocol]) -> str:
    rule, classes = protocol.label_rule, protocol.dataset.num_classes
    if rule and any(rule["shares"][classes:]):
        return f"{protocol.label}: draws labels of more classes than the dataset's {classes}"
    if before and before[0].label_rule != rule:
        return (
            f"{protocol.label} draws labels {in_words(rule)}, {before[0].label} "
            f"{in_words(before[0].label_rule)}; expected one rule, as all protocols score the same "
            "samples"
        )
    return ""


def _prompt_problem(protocol: Protocol, before: Sequence[Protocol]) -> str:
    prompts, dataset = protocol.prompt_set, protocol.dataset
    if before and before[0].record.get("prompts") != protocol.record.get("prompts"):
        return (
            f"{protocol.label} asks with {_named(protocol)}, {before[0].label} with "
            f"{_named(before[0])}; expected one set, as all protocols score the same samples"
        )
    if prompts is None:
        return ""
    if not learns_words(dataset):
        return f"{protocol.label}: asks with prompts, but models of {dataset} learn no words"
    try:
        conditions_of(dataset).rows(prompts.parsed().texts)
    except ConditionError as error:
        return f"{protocol.label}: {prompts}: {error}"
    return ""


def _named(protocol: Protocol) -> str:
    if protocol.prompt_set is None:
        return "no prompts"
    each = protocol.record["prompts"]["images_per_prompt"]
    return f"the prompts {protocol.prompt_set} for {each:,} images each"


def shares_of(experiment: Experiment) -> Sequence[int] | None:
    """Return the classes' shares by the one rule of all protocols, None for all in turn.

    Raises:
        JobError: if the protocols have several rules, which no submission allows.
    """
    first, *others = [protocol.label_rule for protocol in experiment.protocols.all()]
    if any(rule != first for rule in others):
        raise JobError("expected protocols that draw labels by one rule")
    return None if first is None else first["shares"]


def prompts_of(experiment: Experiment, count: int) -> list[str] | None:
    """Return the prompt of each image, image i prompt i mod P; None where no protocol has prompts."""
    prompts = prompt_set_of(experiment)
    return None if prompts is None else prompts.texts_of(count)


def can_be_drawn(experiment: Experiment) -> bool:
    """Return whether scenes can be drawn that follow the prompts of all protocols."""
    prompts, dataset = prompt_set_of(experiment), experiment.dataset
    return prompts is not None and prompts.can_be_drawn(dataset.channels, dataset.resolution)


def prompt_set_of(experiment: Experiment) -> PromptSet | None:
    """Return the prompts of all protocols, None where they have none.

    Raises:
        JobError: if the protocols have several sets, which no submission allows.
    """
    protocols = experiment.protocols.select_related("prompt_set")
    sets = {protocol.prompt_set for protocol in protocols}
    if len(sets) > 1:
        raise JobError("expected protocols that ask with one set of prompts")
    found = sets.pop()
    return None if found is None else found.parsed()
