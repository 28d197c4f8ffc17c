"""Words that an experiment is found by: Tag."""

from typing import ClassVar

from django.db import models

from experiments.tags.words import LONGEST


class Tag(models.Model):
    """One word of an experiment."""

    experiment = models.ForeignKey(
        "experiments.Experiment", on_delete=models.CASCADE, related_name="tags", db_index=False
    )
    word = models.CharField(max_length=LONGEST)

    class Meta:
        ordering: ClassVar = ["experiment_id", "word"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["experiment", "word"], name="tag_word_unique_per_experiment"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["word", "experiment"], name="tag_by_word")]

    def __str__(self) -> str:
        return self.word
