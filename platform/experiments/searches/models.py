"""Looking for good values of options: Search, whose trials are entries of its experiment."""

from itertools import chain, islice
from typing import Any, ClassVar

from django.db import models

MAX_SEED = 2**31 - 1
LEAST_LAID_OUT, MOST_LAID_OUT = 2, 10  # trials before others learn from them


def laid_out(method: str, trials: int) -> int:
    """Return how many trials are there from the beginning: all, or a third where others learn."""
    third = min(MOST_LAID_OUT, max(LEAST_LAID_OUT, trials // 3))
    return trials if method == "random" else min(trials, third)


def fresh(taken: list[int]) -> list[int]:
    """Return as many seeds as these, and none of them."""
    first = max(taken) + 1
    every = chain(range(first, MAX_SEED + 1), range(first))
    return list(islice((seed for seed in every if seed not in taken), len(taken)))


class Search(models.Model):
    """An entry that is tried with several values of options; the best is run again.

    Its trials are `entries` with a `trial` from 1 on. When all have ended, the best by the
    objective becomes the entry with `trial` 0, of seeds that no trial had: that is the one which
    boards rank, for the best of many by one number is lucky, too.
    """

    class Method(models.TextChoices):
        RANDOM = "random"  # all trials are there from the beginning
        TPE = "tpe"  # the first are, another one follows each that ends

    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.CASCADE, related_name="searches"
    )
    protocol = models.ForeignKey(
        "catalog.Protocol", on_delete=models.PROTECT, related_name="+"
    )  # under which the objective is measured
    label = models.CharField(max_length=100)  # of the entry that is run again
    objective = models.CharField(max_length=50)  # a metric of the protocol
    method = models.CharField(max_length=10, choices=Method.choices, default=Method.RANDOM)
    options = models.JSONField()  # by name: where values are from, as `spaces` has it
    trials = models.PositiveIntegerField()
    runs = models.PositiveIntegerField(default=1)  # trainings of each trial
    seed = models.PositiveBigIntegerField(default=0)  # of the choice of values
    given = models.JSONField(default=dict)  # options as they were given, for who submits it again

    class Meta:
        verbose_name_plural = "searches"
        ordering: ClassVar = ["experiment_id", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["experiment", "label"], name="search_label_unique_in_experiment"
            )
        ]

    def __str__(self) -> str:
        return f"search of {self.trials} trials for {self.label}"

    @property
    def laid_out(self) -> int:
        """Return how many trials there are from the beginning, drawn at random."""
        return laid_out(self.method, self.trials)

    @property
    def words(self) -> str:
        """Return in words how its trials are found."""
        if self.method == self.Method.RANDOM:
            return f"at random from seed {self.seed}"
        return (
            f"the first {self.laid_out} at random from seed {self.seed}, then by what those came to "
            "that had ended by then"
        )

    @property
    def fresh_seeds(self) -> list[int]:
        """Return the seeds of the run that ranks: as many as the experiment has, and none of them."""
        return fresh(self.experiment.seeds)

    @property
    def about(self) -> str:
        """Return in words how the entry that is run again was chosen."""
        objective: Any = self.protocol.metric_label(self.objective)
        return f"chosen by search of {self.trials} trials, by {objective}"
