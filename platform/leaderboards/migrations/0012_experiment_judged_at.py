"""Keeps when the own board of a large experiment was judged; None until it is judged again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0011_judging_budgets")]

    operations = [
        migrations.AddField(
            model_name="experimentjudging",
            name="judged_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
