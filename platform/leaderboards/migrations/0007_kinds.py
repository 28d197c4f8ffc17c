"""Keeps with each row of a board its entry's kind and algorithm, by which rows are counted."""

from typing import Any

from django.db import migrations, models
from django.db.models import OuterRef, Subquery

BATCH = 10_000


def fill(apps: Any, schema_editor: Any) -> None:
    """Write what entries are of into their rows."""
    standings = apps.get_model("leaderboards", "Standing").objects.order_by()
    entries = apps.get_model("experiments", "Entry").objects.filter(pk=OuterRef("entry_id"))
    last = standings.order_by("-pk").values_list("pk", flat=True).first() or 0
    for begin in range(0, last + 1, BATCH):
        some = standings.filter(pk__gte=begin, pk__lt=begin + BATCH)
        some.update(
            kind=Subquery(entries.values("kind")), algorithm=Subquery(entries.values("algorithm"))
        )


def index(*fields: str, name: str) -> migrations.AddIndex:
    """Return what adds an index of a board's standings."""
    made = models.Index(fields=["protocol", "control", *fields], name=name)
    return migrations.AddIndex(model_name="standing", index=made)


class Migration(migrations.Migration):
    dependencies = [
        ("leaderboards", "0006_trials"),
    ]

    operations = [
        migrations.AddField(
            model_name="standing",
            name="kind",
            field=models.CharField(default="", max_length=20),
        ),
        migrations.AddField(
            model_name="standing",
            name="algorithm",
            field=models.CharField(blank=True, default="", max_length=50),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        index("is_trial", "kind", "algorithm", name="standing_by_algorithm"),
        index("scored_at", "scored_by", "entry", name="standing_first_scored"),
        migrations.AddIndex(
            model_name="standing",
            index=models.Index(
                condition=models.Q(("of_entry", True)),
                fields=["protocol"],
                name="standing_of_entry",
            ),
        ),
    ]
