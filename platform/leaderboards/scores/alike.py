"""Finds what else of a board has the configurations of some of its rows."""

from collections.abc import Iterable, Iterator

from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Collate

from leaderboards.board import MOST_SAME, Board
from leaderboards.facts.repeats import Submitted
from leaderboards.models import Standing
from leaderboards.scores.standings import as_python, contenders_of

TOLD = (  # of a standing, to know it again
    *("entry_id", "sampler_label", "entry__label", "entry__kind"),
    *("entry__experiment__name", "entry__experiment__seeds", "entry__trial"),
)


def alike_within(board: Board, standings: Iterable[Standing]) -> Iterator[tuple[str, Submitted]]:
    """Yield an experiment's rows of each configuration that one of its standings has."""
    wanted = {each.configuration for each in standings if each.configuration}
    mine = contenders_of(board.protocol, board.experiment).filter(configuration__in=wanted)
    for configuration, *told in mine.order_by().values_list("configuration", *TOLD):
        yield configuration, Submitted.told(*told)


def alike(standings: Iterable[Standing]) -> Iterator[tuple[str, Submitted]]:
    """Yield the first of a board with each configuration that one of its standings has."""
    each_once = {each.configuration: each.pk for each in standings if each.configuration}
    order: list[str | Collate] = ["entry_id", as_python("sampler_label")]
    same = Standing.objects.filter(
        protocol=OuterRef("protocol"), configuration=OuterRef("configuration"), is_trial=False
    ).order_by(*order)
    last = Subquery(same.values("entry_id")[MOST_SAME - 1 : MOST_SAME])  # by the index, for each
    of_each = Standing.objects.filter(pk__in=each_once.values()).order_by().annotate(last=last)
    first = Q(pk__in=[])
    for board, configuration, entry in of_each.values_list("protocol", "configuration", "last"):
        until = Q() if entry is None else Q(entry__lte=entry)
        first |= Q(protocol=board, configuration=configuration) & until
    found = Standing.objects.filter(first, is_trial=False).order_by()
    for configuration, *told in found.values_list("configuration", *TOLD):
        yield configuration, Submitted.told(*told)
