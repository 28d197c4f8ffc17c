"""The box that asks a worker to look into a training: what may be chosen, what was wrong."""

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.models import User
from accounts.permissions import may_submit
from experiments.models import Run, Viewing
from experiments.submission.specification import SpecificationError
from experiments.viewings import asking
from experiments.viewings.kinds import Viewer, is_told

NAMES = ("first", "told", "sampler")  # of fields


@dataclass
class ViewingBox:
    """The form with what was typed; `errors` by field."""

    run: Run
    viewer: Viewer
    user: Any
    typed: dict[str, str]
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, request: HttpRequest, run: Run, viewer: Viewer, shown: Viewing | None
    ) -> "ViewingBox":
        before = dict.fromkeys(NAMES, "") | {"first": "0"}
        if shown is not None:
            before = {
                "first": str(shown.first),
                "told": shown.told,
                "sampler": shown.sampler_label,
            }
        typed = {name: request.POST.get(name, text) for name, text in before.items()}
        return cls(run, viewer, request.user, typed)

    def ask(self) -> Viewing | None:
        """Return the viewing that was asked for; None where something is wrong, shown at its field.

        Raises:
            PermissionDenied: if the account may not ask.
        """
        if not isinstance(self.user, User) or not may_submit(self.user):
            raise PermissionDenied("only submitters and admins may ask workers for pictures")
        try:
            found, _ = asking.ask(self.run, {"kind": self.viewer.key, **self.typed}, user=self.user)
        except SpecificationError as error:
            self.errors = error.errors
            return None
        return found

    @property
    def may_ask(self) -> bool:
        return may_submit(self.user)

    @property
    def problem(self) -> str:
        """Return why nobody can ask, "" where somebody can."""
        return asking.problem_of(self.run)

    @property
    def first_name(self) -> str:
        return "First image of the test split" if self.viewer.first == "image" else "First seed"

    @property
    def samplers(self) -> list[str]:
        """Return the samplers to choose from; none where there is nothing to choose."""
        known = list(asking.labelled_samplers(self.run)) if self.viewer.walks else []
        return known if len(known) > 1 else []

    @property
    def told(self) -> str:
        return is_told(self.run) if self.viewer.told else ""

    @property
    def classes(self) -> list[tuple[str, str]]:
        """Return the classes to choose from, numbers and names."""
        dataset = self.run.entry.experiment.dataset
        names = dataset.classes or [f"class {label}" for label in range(dataset.num_classes)]
        return [(str(label), name) for label, name in enumerate(names)]

    @property
    def limits(self) -> dict[str, int]:
        return {
            "per_hour": settings.QUESTIONS_PER_HOUR,
            "unfinished": settings.QUESTIONS_UNFINISHED,
            "kept": settings.QUESTIONS_KEPT,
        }
