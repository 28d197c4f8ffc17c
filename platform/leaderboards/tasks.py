"""Celery's side of judging boards: every worker does it beside its jobs, behind no training."""

from jobs import beside
from leaderboards.claims.verdicts import find_anew
from leaderboards.scores.judging import judge_asked

beside.every_beat(judge_asked)
beside.every_beat(find_anew)
