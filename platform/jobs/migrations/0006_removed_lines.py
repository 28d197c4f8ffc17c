from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0005_removed_workers"),
    ]

    operations = [
        migrations.AddField(
            model_name="tally",
            name="removed",
            field=models.JSONField(default=list),
        ),
    ]
