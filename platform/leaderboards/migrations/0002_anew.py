"""Forgets the rows of boards: they get more columns, and are written anew from values after that.

A part at a time, each in a transaction of its own; whoever is interrupted goes on at the next time.
"""

from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps

PART = 5000  # rows, while which nobody else writes


def forget(apps: StateApps, schema_editor: Any) -> None:
    """First say that no board is judged, then forget numbers, judgements and rows."""
    apps.get_model("leaderboards", "Judging").objects.update(judged_at=None, leaders=[])
    for name in ("Score", "Judgement", "Standing"):
        rows = apps.get_model("leaderboards", name).objects.order_by("pk")
        while keys := list(rows.values_list("pk", flat=True)[:PART]):
            rows.filter(pk__gte=keys[0], pk__lte=keys[-1]).delete()


class Migration(migrations.Migration):
    atomic = False  # not all of it at once

    dependencies = [("leaderboards", "0001_scores")]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
