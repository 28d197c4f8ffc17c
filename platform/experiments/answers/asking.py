"""Asking the trained entries of an experiment to draw words of one's own: checked and bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from catalog.models import Dataset
from experiments import asked
from experiments.answers import limits
from experiments.models import Entry, Experiment, Run
from experiments.questions.models import Question
from experiments.submission.plain import read_number
from experiments.submission.specification import MAX_SEED, SpecificationError
from generators.specs.conditions import ConditionError
from generators.specs.options import Value, unknown_fields
from jobs import lifecycle
from jobs.models import Status

MAX_TEXT = 200  # characters
MOST_IMAGES, IMAGES = 8, 4  # of each entry: at most, and where nothing is said
FIELDS = ("experiment", "text", "images", "first_seed", "training_seed")


class TooManyQuestions(SpecificationError):
    """The account has asked too much; the sentence at its field says what to wait for."""

    def __init__(self, message: str, field: str = "text") -> None:
        super().__init__({field: message})


@dataclass(frozen=True)
class Wanted:
    """A question that can be asked."""

    text: str
    images: int
    first_seed: int
    training_seed: int


def read_question(experiment: Experiment, data: Mapping[str, Any]) -> Wanted:
    """Return the question that plain data asks of an experiment.

    `{"text": words that its models know, "images": of each entry (4), "first_seed": of image 0 (0),
    "training_seed": whose runs draw (the experiment's first)}`

    Raises:
        SpecificationError: with every wrong field.
    """
    errors = dict(unknown_fields(data, FIELDS))
    text, seed = data.get("text"), data.get("training_seed")
    if problem := text_problem(experiment.dataset, text):
        errors["text"] = problem
    images = _whole(errors, data, "images", IMAGES, least=1, most=MOST_IMAGES)
    first_seed = _whole(errors, data, "first_seed", 0, least=0, most=MAX_SEED)
    training_seed = experiment.seeds[0] if seed in (None, "") else read_number(seed)
    if not isinstance(training_seed, int) or training_seed not in experiment.seeds:
        known = ", ".join(map(str, experiment.seeds))
        errors["training_seed"] = f"expected a seed of the experiment ({known}), got {seed!r}"[:300]
    elif not errors and not contenders(experiment, training_seed):
        errors["text"] = f"no entry has completed its training with seed {training_seed} yet"
    if errors or not isinstance(training_seed, int):
        raise SpecificationError(errors)
    return Wanted(" ".join(str(text).split()), images, first_seed, training_seed)


def text_problem(dataset: Dataset, text: object) -> str:
    """Return why models of a dataset cannot be asked this, "" if they can; unknown words are named."""
    if not asked.learns_words(dataset):
        return f"models of {dataset} learn no words"
    if not isinstance(text, str) or not text.strip():
        return "expected a prompt in words"
    if len(text) > MAX_TEXT:
        return f"expected at most {MAX_TEXT} characters, got {len(text):,}"
    try:
        asked.conditions_of(dataset).row(text)
    except ConditionError as error:
        return str(error)
    return ""


def _whole(
    errors: dict[str, str], data: Mapping[str, Any], name: str, default: int, **bounds: int
) -> int:
    value = data.get(name)
    number = default if value in (None, "") else read_number(value)
    if isinstance(number, int) and bounds["least"] <= number <= bounds["most"]:
        return number
    wanted = f"expected a whole number of {bounds['least']} to {bounds['most']:,}"
    errors[name] = f"{wanted}, got {value!r}"[:300]
    return default


def contenders(experiment: Experiment, training_seed: int) -> list[Run]:
    """Return the completed trainings with a seed, of entries whose package is installed."""
    runs = Run.objects.filter(
        entry__experiment=experiment,
        seed=training_seed,
        status=Status.COMPLETED,
        checkpoints__isnull=False,
    )
    found = runs.select_related("entry").order_by("entry__position").distinct()
    return [run for run in found if run.entry.spec is not None]


def sampler_of(entry: Entry) -> dict[str, Value]:
    """Return the entry's first sampler that heeds the prompt: at a guidance of 0 none does."""
    heeding = (each for each in entry.samplers if each.get("guidance") != 0)
    found: dict[str, Value] = next(heeding, entry.samplers[0])
    return found


@transaction.atomic
def ask(experiment: Experiment, data: Mapping[str, Any], *, user: User) -> Question:
    """Write a question, queue it, and delete what its author has asked long ago.

    Raises:
        SpecificationError: with every wrong field; nothing is written.
        TooManyQuestions: if the account has asked as much as it may.
    """
    wanted = read_question(experiment, data)
    User.objects.select_for_update().get(pk=user.pk)  # two at once are counted one by one
    now = timezone.now()
    if refusal := limits.refusal(user, now):
        raise TooManyQuestions(refusal)
    question = Question.objects.create(
        experiment=experiment,
        created_by=user,
        created_at=now,
        memory_gb=experiment.memory_gb,
        entries_total=len(contenders(experiment, wanted.training_seed)),
        **vars(wanted),
    )
    lifecycle.enqueue(question)
    limits.forget_old(Question, user, now)
    return question
