"""The box that asks: what would each model draw? Who may, what was typed, what is wrong with it."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.models import User
from accounts.permissions import may_submit
from experiments.answers import asking
from experiments.models import Experiment, Question
from experiments.submission.specification import SpecificationError

LATEST = 5  # questions of the reader that are linked


@dataclass
class QuestionBox:
    """The form with what was typed; `errors` by field."""

    experiment: Experiment
    training_seed: int
    user: Any
    typed: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: HttpRequest, experiment: Experiment, training_seed: int) -> "QuestionBox":
        defaults = {"text": "", "images": str(asking.IMAGES), "first_seed": "0"}
        typed = {name: request.POST.get(name, text) for name, text in defaults.items()}
        return cls(experiment, training_seed, request.user, typed)

    def ask(self) -> Question | None:
        """Return the question that was asked; None where something is wrong, shown at its field.

        Raises:
            PermissionDenied: if the account may not ask.
        """
        if not isinstance(self.user, User) or not may_submit(self.user):
            raise PermissionDenied("only submitters and admins may ask what models would draw")
        data = {**self.typed, "training_seed": self.training_seed}
        try:
            return asking.ask(self.experiment, data, user=self.user)
        except SpecificationError as error:
            self.errors = error.errors
            return None

    @property
    def may_ask(self) -> bool:
        return may_submit(self.user)

    @property
    def words(self) -> list[str]:
        """Return the words that models of the dataset know."""
        captions = self.experiment.dataset.captions
        return list(captions["words"]) if captions else []

    @property
    def ready(self) -> int:
        """Return how many entries can draw."""
        return len(asking.contenders(self.experiment, self.training_seed))

    @property
    def latest(self) -> list[Question]:
        """Return the reader's last questions to this experiment."""
        if not self.user.is_authenticated:
            return []
        own = Question.objects.filter(experiment=self.experiment, created_by=self.user)
        return list(own[:LATEST])

    @property
    def limits(self) -> dict[str, int]:
        return {
            "text": asking.MAX_TEXT,
            "images": asking.MOST_IMAGES,
            "per_hour": settings.QUESTIONS_PER_HOUR,
            "unfinished": settings.QUESTIONS_UNFINISHED,
            "kept": settings.QUESTIONS_KEPT,
        }
