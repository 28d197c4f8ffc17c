"""Keeps with a board's judgement who leads at each budget; empty until it is judged again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0010_experiment_judgings")]

    operations = [
        migrations.AddField(
            model_name="judging", name="budgets", field=models.JSONField(default=dict)
        ),
    ]
