"""Keeps what the own boards of large experiments say of their rows."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0007_uploads"),
        ("experiments", "0024_entry_indexes"),
        ("leaderboards", "0009_written_anew"),
    ]

    operations = [
        migrations.CreateModel(
            name="ExperimentJudging",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("of", models.CharField(max_length=64)),
                ("found", models.JSONField(default=dict)),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="judgings",
                        to="experiments.experiment",
                    ),
                ),
                (
                    "protocol",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="catalog.protocol",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("experiment", "protocol"), name="judging_unique_per_experiment"
                    )
                ],
            },
        ),
    ]
