"""Counts an experiment's entries by kind, and lists their algorithms, without reading their configs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0023_searches")]

    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["experiment", "kind", "trial"], name="entry_by_kind"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["algorithm"], name="entry_by_algorithm"),
        ),
    ]
