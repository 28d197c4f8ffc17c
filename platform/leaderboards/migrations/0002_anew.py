"""Forgets the rows of boards: they get more columns, and are written anew from values after that."""

from typing import Any

from django.db import migrations
from django.db.migrations.state import StateApps


def forget(apps: StateApps, schema_editor: Any) -> None:
    for name in ("Score", "Judgement", "Standing"):
        apps.get_model("leaderboards", name).objects.all().delete()
    apps.get_model("leaderboards", "Judging").objects.update(judged_at=None, leaders=[])


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0001_scores")]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
