"""Celery's side of boards: every worker writes and judges them beside its jobs, behind no training."""

from jobs import beside
from leaderboards.claims.verdicts import find_anew
from leaderboards.scores.anew import write_asked
from leaderboards.scores.judging import judge_asked

beside.every_beat(write_asked)
beside.every_beat(judge_asked)
beside.every_beat(find_anew)
