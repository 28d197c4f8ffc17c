"""Takes what the autoencoders of trials leave from all experiments' boards."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Mark the controls of trials, in the experiments that have trials."""
    entries = apps.get_model("experiments", "Entry").objects
    trials = entries.filter(trial__gte=1)
    keys = set(trials.values_list("pk", flat=True))
    beside = entries.filter(kind="control", experiment__in=trials.values("experiment"))
    theirs = [each.pk for each in beside if each.config.get("entry") in keys]
    standings = apps.get_model("leaderboards", "Standing").objects
    standings.filter(entry__in=theirs, of_entry=True).update(is_trial=True)


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0007_kinds"), ("experiments", "0023_searches")]

    operations = [migrations.RunPython(mark, migrations.RunPython.noop, elidable=True)]
