"""Indexes by which rows of a board are found by the text of their names and by ranges of numbers."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0012_experiment_judged_at")]

    operations = [
        migrations.AddIndex(
            model_name="score",
            index=models.Index(
                fields=["protocol", "metric", "value", "standing"], name="score_by_value"
            ),
        ),
        migrations.AddIndex(
            model_name="standing",
            index=models.Index(
                fields=[
                    *("protocol", "control", "is_trial", "kind"),
                    *("label", "sampler_label", "entry"),
                ],
                name="standing_by_text",
            ),
        ),
    ]
