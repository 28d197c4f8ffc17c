from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("experiments", "0013_run_autoencoder_seconds")]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("generator", "Trained here"),
                    ("pipeline", "Pipeline"),
                    ("control", "Control"),
                    ("external", "External"),
                ],
                default="generator",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="sampleset",
            name="provenance",
            field=models.JSONField(blank=True, default=dict),
        ),
    ]
