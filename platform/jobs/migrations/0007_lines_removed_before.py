"""Counts which of the lines that were counted for good have gone since."""

from collections import Counter
from typing import Any

from django.db import migrations
from django.db.models import Count


def count_removed(apps: Any, schema_editor: Any) -> None:
    lines = apps.get_model("jobs", "JobEvent").objects.order_by()
    for tally in apps.get_model("jobs", "Tally").objects.all():
        there = lines.filter(pk__lte=tally.up_to).values_list("job_type", "kind")
        gone = Counter({(job, of): number for job, of, number in tally.counts.get("lines", [])})
        gone.subtract({(job, of): n for job, of, n in there.annotate(number=Count("pk"))})
        tally.removed = [[*key, number] for key, number in gone.items() if number]
        tally.save(update_fields=["removed"])


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_removed_lines"),
    ]

    operations = [
        migrations.RunPython(count_removed, migrations.RunPython.noop, elidable=True),
    ]
