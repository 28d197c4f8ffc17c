from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0005_prompt_sets"),
    ]

    operations = [
        migrations.AlterField(
            model_name="storedfile",
            name="kind",
            field=models.CharField(
                choices=[
                    ("dataset", "Dataset"),
                    ("extractor", "Extractor"),
                    ("checkpoint", "Checkpoint"),
                    ("samples", "Samples"),
                    ("submission", "Submission"),
                    ("picture", "Picture"),
                ],
                max_length=20,
            ),
        ),
    ]
