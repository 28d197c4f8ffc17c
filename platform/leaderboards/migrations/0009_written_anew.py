"""Says how far boards are whose rows a worker writes anew, which a migration asks for."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("leaderboards", "0008_trials_autoencoders"),
    ]

    operations = [
        migrations.AddField(
            model_name="judging",
            name="to_write",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="judging",
            name="writer_seen",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="judging",
            name="written",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="judging",
            name="written_to",
            field=models.BigIntegerField(default=0),
        ),
    ]
