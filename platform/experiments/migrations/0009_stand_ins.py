from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0008_memory_need"),
    ]

    operations = [
        migrations.AddField(
            model_name="sampleset",
            name="stand_ins",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
