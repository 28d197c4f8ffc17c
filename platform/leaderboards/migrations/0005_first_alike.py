"""Finds the first rows of a configuration without reading all of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0004_claims")]

    operations = [
        migrations.AddIndex(
            model_name="standing",
            index=models.Index(
                fields=["protocol", "configuration", "entry", "sampler_label"],
                name="standing_first_alike",
            ),
        ),
        migrations.RemoveIndex(model_name="standing", name="standing_by_configuration"),
    ]
