"""Boards as rows: what follows from values and jobs, kept so that a page need not work it out.

Nothing is known here alone: `manage.py rescore` writes all of it anew.
"""

from typing import ClassVar

from django.db import models

from catalog.models import Protocol
from experiments.models import Entry, Experiment


class Standing(models.Model):
    """One entry with one sampler under one protocol: a row of a board."""

    protocol = models.ForeignKey(Protocol, on_delete=models.CASCADE, related_name="standings")
    entry = models.ForeignKey(Entry, on_delete=models.CASCADE, related_name="standings")
    sampler_label = models.CharField(max_length=100)
    label = models.CharField(max_length=150)  # the entry's, as are its kind and algorithm
    kind = models.CharField(max_length=20, default="")
    algorithm = models.CharField(max_length=50, blank=True, default="")
    control = models.CharField(max_length=20, blank=True)  # which one, "" for a contender
    of_entry = models.BooleanField(default=False)  # a control that an entry has for itself
    is_trial = models.BooleanField(default=False)  # of a search: shown beside the others, unranked
    place = models.PositiveSmallIntegerField(default=0)  # among controls
    budget = models.CharField(max_length=20, default="")  # key of a budget, or of a control
    device = models.CharField(max_length=200, blank=True)
    configuration = models.CharField(max_length=64, blank=True)  # digest, "" for a control
    seeds_scored = models.PositiveIntegerField()
    seeds_total = models.PositiveIntegerField()
    seeds_failed = models.PositiveIntegerField()
    scored_at = models.DateTimeField(null=True, blank=True)  # the last time
    scored_by = models.BigIntegerField(null=True, blank=True)  # which evaluation that was
    changed_at = models.DateTimeField()
    is_judged = models.BooleanField(default=False)  # as it is now, beside the others of its board

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["protocol", "entry", "sampler_label"],
                name="standing_unique_per_entry_and_sampler",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["protocol", "is_judged"], name="standing_to_judge"),
            models.Index(
                fields=["protocol", "control", "is_trial", "seeds_scored"], name="standing_by_kind"
            ),
            models.Index(
                fields=["protocol", "control", "is_trial", "budget"], name="standing_by_budget"
            ),
            models.Index(
                fields=["protocol", "configuration", "entry", "sampler_label"],
                name="standing_first_alike",
            ),
            models.Index(
                fields=["protocol", "control", "is_trial", "kind", "algorithm"],
                name="standing_by_algorithm",
            ),
            models.Index(
                fields=[
                    *("protocol", "control", "is_trial", "kind"),
                    *("label", "sampler_label", "entry"),
                ],
                name="standing_by_text",
            ),
            models.Index(
                fields=["protocol", "control", "scored_at", "scored_by", "entry"],
                name="standing_first_scored",
            ),
            models.Index(
                fields=["protocol"], condition=models.Q(of_entry=True), name="standing_of_entry"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label}, {self.sampler_label}"


class Score(models.Model):
    """One number of a standing: the mean over its seeds, or a cost; absent with a reason."""

    class Group(models.IntegerChoices):
        """Where a number stands in the order of its column, whichever way it is turned."""

        REAL = 0  # the control that models are compared with
        VALUE = 1
        OF_SURVIVORS = 2  # other seeds were lost
        ABSENT = 3
        CONTROL = 4

    standing = models.ForeignKey(Standing, on_delete=models.CASCADE, related_name="scores")
    protocol = models.ForeignKey(
        Protocol, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    metric = models.CharField(max_length=50)  # key of a column
    budget = models.CharField(max_length=20, default="")  # the standing's
    group = models.PositiveSmallIntegerField(choices=Group.choices)
    badness = models.FloatField(null=True)  # in its group less is better
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)  # 95 % interval
    high = models.FloatField(null=True)
    interval_of = models.CharField(max_length=10, blank=True)
    plug_in = models.FloatField(null=True)
    declared = models.FloatField(null=True)
    unknown = models.BooleanField(default=False)
    reason = models.CharField(max_length=600, blank=True)
    seeds = models.JSONField(default=list)  # [value, standard error or null] of each
    seeds_lost = models.PositiveIntegerField(default=0)
    details = models.JSONField(default=list)  # what else is known, for each seed with a value

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["standing", "metric"], name="score_unique_per_standing_and_metric"
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["protocol", "metric", "group", "badness"], name="score_best_first"
            ),
            models.Index(
                fields=["protocol", "metric", "group", "-badness"], name="score_worst_first"
            ),
            models.Index(
                fields=["protocol", "metric", "budget", "group", "badness"],
                name="score_best_of_budget_first",
            ),
            models.Index(
                fields=["protocol", "metric", "budget", "group", "-badness"],
                name="score_worst_of_budget_first",
            ),
            models.Index(fields=["protocol", "metric", "value", "standing"], name="score_by_value"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} = {self.value}"


class Judgement(models.Model):
    """What a board says of one standing beside the others, by the keys of its columns."""

    standing = models.OneToOneField(Standing, on_delete=models.CASCADE, primary_key=True)
    of = models.DateTimeField()  # when what was judged had changed
    found = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"judgement of {self.standing_id}"


class Judging(models.Model):
    """When a whole board was judged, and who led it then."""

    protocol = models.OneToOneField(Protocol, on_delete=models.CASCADE, related_name="judging")
    judged_at = models.DateTimeField(null=True, blank=True)  # None: never yet
    standings = models.PositiveIntegerField(default=0)  # that were judged
    unranked = models.JSONField(default=dict)  # columns without ranks then, with the reasons
    leaders = models.JSONField(default=list)  # of each corner: key, standing, tied, leads
    budgets = models.JSONField(default=dict)  # who leads at each of a kind, see `leading.by_budget`
    rung_at = models.DateTimeField(
        null=True, blank=True
    )  # a worker was asked to, and has not begun
    to_write = models.PositiveIntegerField(default=0)  # entries whose rows a worker writes anew
    written = models.PositiveIntegerField(default=0)  # of these
    written_to = models.BigIntegerField(default=0)  # key of the last of them
    writer_seen = models.DateTimeField(null=True, blank=True)  # when that was; None: nobody does

    def __str__(self) -> str:
        return f"{self.protocol}, judged {self.judged_at}"


class ExperimentJudging(models.Model):
    """What an experiment's own board says of its rows beside each other, where there are many."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="judgings")
    protocol = models.ForeignKey(Protocol, on_delete=models.CASCADE, related_name="+")
    of = models.CharField(max_length=64)  # digest of what was judged: its rows, when they changed
    found = models.JSONField(default=dict)  # by the key of a standing
    judged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["experiment", "protocol"], name="judging_unique_per_experiment"
            )
        ]

    def __str__(self) -> str:
        return f"judging of {self.experiment_id} under {self.protocol_id}"


class FoundClaims(models.Model):
    """What all boards together say of the textbooks' sentences; one row at most."""

    found = models.JSONField(default=list)
    found_at = models.DateTimeField(null=True, blank=True)  # None: never yet
    of = models.DateTimeField(null=True, blank=True)  # when the last board of these was judged
    begun_at = models.DateTimeField(null=True, blank=True)  # a worker compares since then

    def __str__(self) -> str:
        return f"claims, found {self.found_at}"
