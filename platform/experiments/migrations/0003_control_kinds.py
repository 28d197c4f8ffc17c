from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def name_kinds(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Until now real test images were the only control."""
    entries = apps.get_model("experiments", "Entry").objects
    entries.filter(kind="control", config={}).update(config={"control": "test"})


class Migration(migrations.Migration):
    """Say of each control entry which control it is."""

    dependencies = [("experiments", "0002_metricvalue_details")]

    # Backwards the word may stay: what came before did not read it.
    operations = [migrations.RunPython(name_kinds, migrations.RunPython.noop)]
