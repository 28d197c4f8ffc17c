"""Asking how a trained model makes images: checked, bounded, and answered once for everybody."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from experiments.answers import limits
from experiments.answers.asking import TooManyQuestions, text_problem
from experiments.models import Run, Viewing
from experiments.submission.plain import read_number
from experiments.submission.specification import MAX_SEED, SpecificationError
from experiments.viewings.kinds import VIEWERS, Viewer, is_told, offered, samplers_of
from generators.specs import registry
from generators.specs.options import Value, unknown_fields
from jobs import lifecycle
from jobs.models import Status

FIELDS = ("run", "kind", "first", "told", "sampler")


@dataclass(frozen=True)
class Wanted:
    """A viewing that can be asked for."""

    kind: str
    first: int
    told: str
    sampler: dict[str, Value]
    sampler_label: str


def problem_of(run: Run) -> str:
    """Return why nobody can look into a run, "" where somebody can."""
    if run.entry.spec is None:
        return f"no {run.entry.algorithm} is installed here"
    if run.status != Status.COMPLETED or not run.checkpoints.exists():
        return "the training is not complete"
    return ""


def read_viewing(run: Run, data: Mapping[str, Any]) -> Wanted:
    """Return the viewing of a run that plain data asks for.

    `{"kind": a key of VIEWERS, "first": seed or place in the test split (0), "told": a class's
    number or a prompt (any), "sampler": the label of one of the entry's (its first)}`; what a
    viewer does not take is refused.

    Raises:
        SpecificationError: with every wrong field.
    """
    errors = dict(unknown_fields(data, FIELDS))
    if problem := problem_of(run):
        raise SpecificationError({"run": problem, **errors})
    viewer = VIEWERS.get(str(data.get("kind")))
    if viewer is None or viewer not in offered(run.entry):
        known = ", ".join(each.key for each in offered(run.entry))
        wrong = f"expected one of {known}, got {data.get('kind')!r}"[:300]
        raise SpecificationError({"kind": wrong, **errors})
    first = _first(errors, run, viewer, data.get("first"))
    told = _told(errors, run, viewer, data.get("told"))
    label, sampler = _sampler(errors, run, viewer, data.get("sampler"))
    if errors:
        raise SpecificationError(errors)
    return Wanted(viewer.key, first, told, sampler, label)


def _first(errors: dict[str, str], run: Run, viewer: Viewer, value: object) -> int:
    of_images = viewer.first == "image"
    last = run.entry.experiment.dataset.test_size - 1
    most = last if of_images else MAX_SEED if viewer.most is None else viewer.most
    number = 0 if value in (None, "") else read_number(value)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most:
        return number
    errors["first"] = f"expected a whole number of 0 to {most:,}, got {value!r}"[:300]
    return 0


def _told(errors: dict[str, str], run: Run, viewer: Viewer, value: object) -> str:
    """Return what the model is to be told, "" for whatever comes first."""
    if value in (None, ""):
        return ""
    means, dataset = is_told(run), run.entry.experiment.dataset
    if not (viewer.told and means):
        errors["told"] = f"expected nothing: the model is told nothing there, got {value!r}"[:300]
    elif means == "class":
        number, most = read_number(value), dataset.num_classes - 1
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= most:
            return str(number)
        errors["told"] = f"expected a class of 0 to {most:,}, got {value!r}"[:300]
    elif problem := text_problem(dataset, value):
        errors["told"] = problem
    return " ".join(str(value).split())


def _sampler(
    errors: dict[str, str], run: Run, viewer: Viewer, value: object
) -> tuple[str, dict[str, Value]]:
    """Return the label and the options of the sampler that draws; nothing where none is chosen."""
    known = labelled_samplers(run) if viewer.walks else {}
    if not viewer.walks and value in (None, ""):
        return "", {}
    label = next(iter(known), "") if value in (None, "") else str(value)
    if label not in known:
        expected = f"one of {', '.join(known)}" if known else "nothing"
        errors["sampler"] = f"expected {expected}, got {value!r}"[:300]
    return label, known.get(label, {})


def labelled_samplers(run: Run) -> dict[str, dict[str, Any]]:
    """Return the samplers of a run's entry by their labels."""
    algorithm = run.entry.algorithm
    return {
        registry.parse_sampler(algorithm, each).label(): each for each in samplers_of(run.entry)
    }


@transaction.atomic
def ask(run: Run, data: Mapping[str, Any], *, user: User) -> tuple[Viewing, bool]:
    """Return the viewing that is asked for, and whether it is new: then it was queued.

    What somebody has asked for before, and was not in vain, is there already and costs nothing.

    Raises:
        SpecificationError: with every wrong field; nothing is written.
        TooManyQuestions: if the account has asked as much as it may.
    """
    wanted = asdict(read_viewing(run, data))
    User.objects.select_for_update().get(pk=user.pk)  # two at once are counted one by one
    if found := _found(run, wanted):
        return found, False
    now = timezone.now()
    if refusal := limits.refusal(user, now):
        raise TooManyQuestions(refusal, "kind")
    viewing = _queued(run, wanted, user=user)
    limits.forget_old(Viewing, user, now)
    return viewing, True


def queue(run: Run, data: Mapping[str, Any]) -> Viewing:
    """Return a viewing of plain data that nobody asked for, queued.

    Raises:
        SpecificationError: with every wrong field.
    """
    return _queued(run, asdict(read_viewing(run, data)), user=None)


def _queued(run: Run, wanted: Mapping[str, Any], *, user: User | None) -> Viewing:
    viewing = Viewing.objects.create(
        run=run, created_by=user, memory_gb=run.entry.experiment.memory_gb, **wanted
    )
    lifecycle.enqueue(viewing)
    return viewing


def _found(run: Run, wanted: Mapping[str, Any]) -> Viewing | None:
    names = ("kind", "first", "told", "sampler_label")
    same = Viewing.objects.filter(run=run, **{name: wanted[name] for name in names})
    in_vain = (Status.FAILED, Status.CANCELLED, Status.CANCELLING)
    return same.exclude(status__in=in_vain).order_by("-pk").first()
