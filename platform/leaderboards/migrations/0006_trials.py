"""Keeps trials of searches apart from what boards rank, in the indexes that count a board's rows."""

from django.db import migrations, models


def index(*fields: str, name: str) -> migrations.AddIndex:
    """Return what adds an index of a board's standings."""
    made = models.Index(fields=["protocol", "control", *fields], name=name)
    return migrations.AddIndex(model_name="standing", index=made)


class Migration(migrations.Migration):
    dependencies = [("leaderboards", "0005_first_alike")]

    operations = [
        migrations.AddField(
            model_name="standing",
            name="is_trial",
            field=models.BooleanField(default=False),
        ),
        migrations.RemoveIndex(model_name="standing", name="standing_by_kind"),
        migrations.RemoveIndex(model_name="standing", name="standing_by_budget"),
        index("is_trial", "seeds_scored", name="standing_by_kind"),
        index("is_trial", "budget", name="standing_by_budget"),
    ]
