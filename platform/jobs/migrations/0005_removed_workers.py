from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0004_tally_of_timelines"),
    ]

    operations = [
        migrations.AlterField(
            model_name="worker",
            name="order",
            field=models.CharField(
                blank=True,
                choices=[
                    ("drain", "finish the current job, take no more"),
                    ("stop", "hand the current job back and end"),
                    ("removed", "gone; not listed until it comes back"),
                ],
                default="",
                max_length=10,
            ),
        ),
    ]
