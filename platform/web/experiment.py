"""The page of an experiment: boards, entries side by side, runs, configurations."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from django.core.paginator import Page as PageOf, Paginator
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode

from accounts.models import User
from accounts.permissions import may_submit
from catalog.models import Protocol
from experiments import asked, comparison, overview
from experiments.lifetime import expected
from experiments.models import Entry, Experiment, Run
from experiments.ownership import may_change
from experiments.pages.addresses import refuse_others
from experiments.pages.live import Region
from experiments.progress import jobs_needed
from experiments.submission.pipelines import weight_bytes
from experiments.tags.asking import words_of
from experiments.tags.words import MOST
from jobs.models import FINISHED, Status, Surroundings, overall
from leaderboards import charts, protocol_box, tables
from leaderboards.board import columns_of
from leaderboards.budgeting import nfe
from leaderboards.facts.choice import EVERY
from leaderboards.facts.columns import FACTS
from leaderboards.scores import points, reading
from leaderboards.scores.pages import pages
from leaderboards.scores.query import asked as asked_of, read
from leaderboards.scores.refusal import QueryError
from notifications import receivers
from web.search_box import boxes

MOST_ROWS = 22  # of all boards that are drawn at once, or of one page of one
FRAME = 2  # rows that a further board weighs as much as: its controls, forms and chart
MOST_ENTRIES = 12  # that are shown side by side
MOST_RUNS = 64  # of these
MOST_FAILED = 40  # jobs that are named
MOST_WHOLE = 200  # jobs that are loaded with all they have
MOST_FORESEEN = 1_000  # and in outline, to tell how long they will take

ASKED = (
    "page",
    "columns",
    "baseline",
    "as_of",
)  # of boards; the rest is of the board of all experiments


@dataclass(frozen=True)
class Page:
    """An experiment with everything its page was asked to show."""

    experiment: Experiment
    protocols: list[Protocol]
    first: Protocol | None  # whose board is drawn at once, where not all are; None: it has none
    entries: list[Entry]  # all of them; jobs are loaded of those that are shown alone
    counts: overview.JobCounts
    seed: int  # whose samples stand side by side
    sort: str  # of the boards
    asked: Mapping[str, str]  # what else the address says of them

    @classmethod
    def of(cls, request: HttpRequest, pk: int) -> "Page":
        named = Prefetch("protocols", Protocol.objects.select_related("dataset"))
        experiments = Experiment.objects.select_related("dataset", "created_by")
        experiments = experiments.prefetch_related("entries", "tags", named)
        experiment = get_object_or_404(experiments, pk=pk)
        protocols = list(experiment.protocols.all())
        return cls(
            experiment=experiment,
            protocols=protocols,
            first=_chosen_board(request.GET.get("protocol", ""), protocols),
            entries=list(experiment.entries.all()),
            counts=overview.JobCounts.of(experiment),
            seed=chosen_seed(request.GET.get("seed", ""), experiment.seeds),
            sort=_chosen_sort(request.GET.get("sort", ""), protocols),
            asked=_chosen(request, protocols),
        )

    def regions(self) -> dict[str, Region]:
        contexts: dict[str, Callable[[], dict[str, Any]]] = {
            "standing": self._standing,
            "boards": partial(self._board, self.first),
            "samples": self._samples,
            "runs": self._runs,
        }
        return {name: self._region(name, context) for name, context in contexts.items()}

    def _region(
        self, name: str, context: Callable[[], dict[str, Any]], of: Protocol | None = None
    ) -> Region:
        query = urlencode({**self._address(of), **self.asked})
        return Region(
            template=f"web/_experiment_{name}.html",
            url=f"{reverse('experiment-region', args=[self.experiment.pk, name])}?{query}",
            live=self.is_live,
            context=context,
        )

    @property
    def page(self) -> str:
        """Return the number of the page of entries and rows."""
        return self.asked.get("page", "1")

    @property
    def kept(self) -> str:
        """Return how links to other pages of entries begin: with everything else that was chosen."""
        others = {name: value for name, value in self.asked.items() if name != "page"}
        chosen = {name: value for name, value in {**self._address(), **others}.items() if value}
        return f"?{urlencode(chosen)}&"

    @property
    def seeds(self) -> list[tuple[int, str]]:
        """Return the training seeds with addresses that show one, and else what this one does."""
        chosen = {name: value for name, value in {**self._address(), **self.asked}.items() if value}
        return [
            (seed, f"?{urlencode({**chosen, 'seed': str(seed)})}") for seed in self.experiment.seeds
        ]

    def _address(self, of: Protocol | None = None) -> dict[str, str]:
        """Return what an address says of seed, order and board: that of a protocol, or as asked."""
        board = of or self.first
        is_default = board is None or board == self.protocols[0]
        named = {} if is_default or board is None else {"protocol": board.short}
        return {"seed": str(self.seed), "sort": self.sort, **named}

    @property
    def is_live(self) -> bool:
        """Whether any job has not finished."""
        return any(status not in FINISHED for status in self.counts.statuses)

    def _standing(self) -> dict[str, Any]:
        statuses = self.counts.statuses
        return {
            "experiment": self.experiment,
            "status": overall(set(statuses)),
            "jobs_done": statuses[Status.COMPLETED],
            "jobs_total": self._jobs_in_all(),
            "failed": self.counts.failed(MOST_FAILED),
            "failed_total": statuses[Status.FAILED],
            "can_cancel": bool(statuses[Status.QUEUED] + statuses[Status.RUNNING]),
            "can_retry": bool(statuses[Status.FAILED] + statuses[Status.CANCELLED]),
            **(self._waiting(Surroundings.now()) if self.is_live else {}),
        }

    def _waiting(self, around: Surroundings) -> dict[str, Any]:
        """Return what is left of an experiment that is not done, and which of its jobs is next."""
        jobs = self.whole or self._outline()
        waits = jobs.next_waiting() if jobs else self.counts.next_waiting()
        if waits and jobs and not self.whole:
            waits = overview.whole(waits)
        queues = {job.queue for job in jobs.waiting} if jobs else self.counts.queues()
        left = expected.of_experiment(self.experiment, jobs, around.workers) if jobs else None
        return {
            "unserved": overview.unserved_queues(queues, around.workers),
            "left": left,
            "waits": overview.describe(waits) if waits else None,
            "why": waits.waits_for(around, waits.ahead()) if waits else "",
        }

    @cached_property
    def whole(self) -> comparison.ExperimentJobs | None:
        """Return all rows of a small experiment that is not done, for all parts of its page."""
        is_small = self.is_live and self._jobs_in_all() <= MOST_WHOLE
        return comparison.ExperimentJobs.of(self.experiment) if is_small else None

    def _outline(self) -> comparison.ExperimentJobs | None:
        """Return all rows of the experiment in outline, None of a huge one."""
        is_huge = self._jobs_in_all() > MOST_FORESEEN
        return None if is_huge else comparison.ExperimentJobs.outline(self.experiment)

    def _jobs_in_all(self) -> int:
        """Return how many jobs the whole experiment is, those that do not exist yet among them."""
        return max(self.counts.statuses.total(), jobs_needed(self.experiment))

    def boards(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return a part of the page for each board; those further down come as one draws near."""
        before = [None, *self.protocols[:-1]]
        drawn = self._drawn_at_once()
        return [
            self._board_part(protocol, other, request if protocol in drawn else None)
            for protocol, other in zip(self.protocols, before, strict=True)
        ]

    def _drawn_at_once(self) -> list[Protocol]:
        """Return whose boards are drawn with the page: all that are small, else the first."""
        rows = sum(max(1, len(entry.sampler_labels)) for entry in self.entries)
        number = MOST_ROWS // (rows + FRAME)
        few = self.protocols[:number] if number > 1 else []
        return [*few, *([self.first] if self.first else [])]

    def _board_part(
        self, protocol: Protocol, before: Protocol | None, request: HttpRequest | None
    ) -> dict[str, Any]:
        region = self._region("boards", partial(self._board, protocol), protocol)
        chosen = {**self._address(protocol), "protocol": protocol.short, **self.asked}
        return {
            "apart": protocol_box.apart(protocol, [before])[0] if before else None,
            "protocol": protocol,
            "url": region.url,
            "link": f"?{urlencode({name: value for name, value in chosen.items() if value})}",
            "content": region.render(request) if request else None,
        }

    def _board(self, protocol: Protocol | None) -> dict[str, Any]:
        if protocol is None:
            return {}
        columns = columns_of(protocol)
        keys = {*FACTS, *(column.key for column in columns)}
        sort = self.sort if self.sort.removeprefix("-") in keys else ""
        query = read(_known_columns(self.asked, keys), columns, size=MOST_ROWS)
        query = replace(query, ahead=points.MOST, is_page=True)
        try:
            board = reading.board(protocol, sort=sort, experiment=self.experiment, query=query)
        except QueryError as error:
            raise Http404(str(error)) from error
        page = self.experiment.get_absolute_url()
        address = self._address(protocol)
        return {
            "protocol": protocol,
            "table": tables.table(board, page=page, query=query, **address),
            "pages": pages(board, query, **address),
            "chart": charts.trilemma(board, points.others(board, query)),
            "chart_name": f"trilemma-{protocol.short}",
            "nfe": nfe.drawn(board, query),
            "nfe_name": f"nfe-{protocol.short}",
        }

    def _samples(self) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "seed": self.seed,
            "sort": self.sort,
            "contenders": comparison.contenders(self.experiment, self.seed, self.shown),
            "part": self.part,
            "kept": self.kept,
        }

    def _runs(self) -> dict[str, Any]:
        runs = self.shown.runs
        return {
            "work": [overview.describe(run) for run in runs[:MOST_RUNS]],
            "runs_shown": min(len(runs), MOST_RUNS),
            "runs_total": self.counts.by_kind[Run].total(),
        }

    @cached_property
    def part(self) -> PageOf[Entry]:
        """Return the entries of the page that is shown; where it is beyond them, the last."""
        return Paginator(self.entries, MOST_ENTRIES).get_page(self.page)

    @cached_property
    def shown(self) -> comparison.ExperimentJobs:
        """Return the runs of those entries, and what was drawn at the seed that is shown."""
        if self.whole:
            return self.whole.of_entries(list(self.part))
        return comparison.ExperimentJobs.of(self.experiment, self.part, seed=self.seed)


def chosen_seed(text: str, seeds: list[int]) -> int:
    """Return the training seed whose samples are shown, the first by default."""
    if not text:
        return seeds[0]
    if text not in {str(seed) for seed in seeds}:
        raise Http404(f"expected a seed of the experiment ({seeds}), got {text!r}")
    return int(text)


def _chosen(request: HttpRequest, protocols: list[Protocol]) -> dict[str, str]:
    """Return what an address says of boards, each part of which one of them understands."""
    refuse_others(request.GET, ("seed", "sort", "protocol", *ASKED, "seen"), several=("columns",))
    given = {name: value for name, value in asked_of(request.GET).items() if value}
    found = {name: value for name, value in given.items() if name in ASKED}
    columns = {column.key: column for each in protocols for column in columns_of(each)}
    try:
        read(found, columns.values())
    except QueryError as error:
        raise Http404(str(error)) from error
    return found


def _known_columns(asked: Mapping[str, str], keys: Collection[str]) -> dict[str, str]:
    """Return what is asked of one of several boards, without the columns that others have."""
    chosen = asked.get("columns", "")
    mine = [key for key in chosen.split(",") if key in (EVERY, *keys)]
    return {**asked, "columns": ",".join(mine)}


def _chosen_board(short: str, protocols: list[Protocol]) -> Protocol | None:
    """Return whose board is meant, the first by default."""
    if not short:
        return next(iter(protocols), None)
    found = {protocol.short: protocol for protocol in protocols}
    if short not in found:
        raise Http404(f"expected a protocol of the experiment ({', '.join(found)}), got {short!r}")
    return found[short]


def _chosen_sort(sort: str, protocols: list[Protocol]) -> str:
    keys = {column.key for protocol in protocols for column in columns_of(protocol)}
    if sort and sort.removeprefix("-") not in (*keys, *FACTS):
        raise Http404(f"expected a column to sort by ({', '.join(sorted(keys))}), got {sort!r}")
    return sort


def _pipelines(jobs: comparison.ExperimentJobs) -> Iterator[tuple[Entry, dict[str, Any], int]]:
    """Yield each pipeline with its card and the bytes of its weights on the device.

    The card is of the files that were drawn from, else as submitted.
    """
    for entry in jobs.entries:
        if entry.kind == Entry.Kind.PIPELINE:
            sets = [each for each in jobs.sample_sets if each.entry_id == entry.pk]
            drawn = [each.provenance["card"] for each in sets if each.provenance]
            card = next(iter(drawn), entry.config.get("card", {}))
            yield entry, card, weight_bytes(entry.config, card or None)


def _watching(request: HttpRequest, experiment: Experiment) -> dict[str, bool]:
    user = request.user
    if not may_submit(user) or not isinstance(user, User):
        return {"may_watch": False}
    told = receivers.is_told(user, experiment)
    return {"may_watch": True, "is_told": told, "may_join": may_change(user, experiment)}


def experiment(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an experiment."""
    return show(request, pk)


def show(request: HttpRequest, pk: int, *, status: int = 200, **shown: Any) -> HttpResponse:
    """Return the page of an experiment with what else is to be shown there."""
    page = Page.of(request, pk)
    regions, words = page.regions(), words_of(page.experiment.tags.all())
    context = {
        "page": page,
        "experiment": page.experiment,
        "prompt_set": any(protocol.prompt_set_id for protocol in page.protocols),
        "pipelines": list(_pipelines(page.shown)),
        "external": [each for each in page.part if each.kind == Entry.Kind.EXTERNAL],
        **_watching(request, page.experiment),
        "warnings": asked.warnings(page.experiment.dataset, page.entries),
        "trained": [entry for entry in page.part if entry.algorithm],
        "configs": comparison.config_tables(page.part),
        "part": page.part,
        "searches": boxes(page.experiment),
        "kept": page.kept,
        "tags": page.experiment.tags.all(),
        "typed_tags": ", ".join(words),
        "most_tags": MOST,
        "may_tag": may_change(request.user, page.experiment),
        **{name: regions[name].render(request) for name in ("standing", "samples", "runs")},
        "boards": page.boards(request),
        **shown,
    }
    return render(request, "web/experiment.html", context, status=status)


def experiment_region(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """Return one live part of the experiment's page."""
    regions = Page.of(request, pk).regions()
    if name not in regions:
        raise Http404(f"expected a part of the page ({', '.join(regions)}), got {name!r}")
    return regions[name].respond(request)
