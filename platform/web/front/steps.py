"""What to do next, for who runs an empty site, who is new, and who comes back."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import User
from accounts.permissions import may_submit
from catalog.models import Dataset, Protocol
from experiments import overview
from experiments.models import Entry, Experiment
from experiments.overview import Standing
from experiments.submission.record import RECORDED
from jobs.models import Status, Worker

MOST_OWN = 5  # experiments of who comes back


@dataclass(frozen=True)
class Step:
    """One thing to do next: where a link leads and why to follow it."""

    title: str
    url: str
    why: str


@dataclass(frozen=True)
class Own:
    """An experiment of who looks at the page, where it stands and what to do with it."""

    experiment: Experiment
    standing: Standing | None
    step: Step

    @property
    def status(self) -> str:
        return self.standing.status if self.standing else Status.COMPLETED.value


def to_a_board() -> list[tuple[str, bool]]:
    """Return the steps of an empty site to its first board, with whether they are done."""
    return [
        ("account", User.objects.filter(is_active=True).exists()),
        ("worker", any(worker.is_alive for worker in Worker.objects.all())),
        ("dataset", Dataset.objects.exists()),
        ("protocol", Protocol.objects.exists()),
        ("experiment", False),
    ]


def own(user: User | AnonymousUser) -> list[Own]:
    """Return the newest experiments of an account; none for a stranger."""
    if not isinstance(user, User):
        return []
    found = list(_experiments(user)[:MOST_OWN])
    standings = overview.standings(found) if found else {}
    return [_own(each, standings.get(each.pk)) for each in found]


def _experiments(user: User) -> QuerySet[Experiment]:
    return Experiment.objects.filter(created_by=user).select_related("dataset")


def _own(experiment: Experiment, standing: Standing | None) -> Own:
    url = experiment.get_absolute_url()
    if standing and standing.failed:
        step = Step("See what failed", url, "and retry it from its last checkpoint")
    elif standing and standing.status in (Status.QUEUED, Status.RUNNING):
        step = Step("Watch it", url, "losses and samples as they come to be")
    else:
        step = Step("Look at its board", f"{url}#boards-heading", "and compare its entries")
    return Own(experiment, standing, step)


def next_steps(
    user: User | AnonymousUser, mine: Iterable[Own], newest: Protocol | None
) -> list[Step]:
    """Return what to do next; `newest` is the latest protocol of a board, None without boards."""
    if last := next(iter(mine), None):
        return list(_on(last.experiment))
    signing = [] if user.is_authenticated else [_sign_in()]
    if newest is None:
        begin = Step("Come to a first board", "#steps-heading", "in the steps below")
        return [begin, _learn(), *signing]
    if may_submit(user):
        return [_board(newest), *_first(newest), _advice()]
    return [_board(newest), _advice(), _learn(), *signing]


def _on(last: Experiment) -> Iterable[Step]:
    """Yield how who comes back goes on from the last experiment."""
    kinds = list(last.entries.exclude(kind=Entry.Kind.CONTROL).values_list("kind", flat=True))
    if set(kinds) & set(RECORDED):
        address = f"{reverse('submit-experiment')}?{urlencode({'from': last.pk})}"
        yield Step("Clone and edit the last one", address, f"{last.name}, with one thing changed")
    address = f"{reverse('submit-experiment')}?{urlencode({'dataset': last.dataset.slug})}"
    yield Step("Begin another", address, f"on {last.dataset.name}")
    if len(kinds) > 1:
        url = f"{last.get_absolute_url()}#samples-heading"
        yield Step("See its samples side by side", url, f"{len(kinds)} entries, the same seeds")


def _board(newest: Protocol) -> Step:
    url = reverse("leaderboard", args=[newest.fingerprint])
    return Step("Read the newest board", url, f"{newest.board_name}: who gives up what")


def _first(newest: Protocol) -> Iterable[Step]:
    """Yield how somebody who may submit does so for the first time."""
    query = urlencode({"dataset": newest.dataset.slug, "protocol": newest.fingerprint})
    url = f"{reverse('submit-experiment')}?{query}"
    why = f"a GAN, a VAE and a diffusion model on {newest.dataset.name}; the form is filled in"
    yield Step("Compare three families yourself", url, why)
    yield Step("Bring your own images", reverse("submit-dataset"), "a folder or an archive")
    yield Step(
        "Score your own model", reverse("submit-samples"), "its samples are all that is needed"
    )


def _advice() -> Step:
    why = "what fits your images, device and time, from what was measured here"
    return Step("Which model for my data?", reverse("advice"), why)


def _learn() -> Step:
    return Step("What are GANs, VAEs, diffusion?", reverse("glossary"), "in pictures and words")


def _sign_in() -> Step:
    return Step("Sign in", f"{reverse('login')}?next=/", "to submit images, models and experiments")
