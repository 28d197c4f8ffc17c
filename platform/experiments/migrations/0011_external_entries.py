from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0005_prompt_sets"),
        ("experiments", "0010_reconstructions"),
        ("jobs", "0003_pause"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="entry",
            name="entry_generator_has_algorithm",
        ),
        migrations.RemoveConstraint(
            model_name="experiment",
            name="experiment_has_one_budget",
        ),
        migrations.RemoveConstraint(
            model_name="sampleset",
            name="sampleset_control_unique_per_entry",
        ),
        migrations.AddField(
            model_name="sampleset",
            name="findings",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="sampleset",
            name="seed",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="sampleset",
            name="source",
            field=models.CharField(blank=True, max_length=300),
        ),
        migrations.AlterField(
            model_name="entry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("generator", "Trained here"),
                    ("control", "Control"),
                    ("external", "External"),
                ],
                default="generator",
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(models.Q(("kind", "generator"), _negated=True), ("algorithm", "")),
                    models.Q(("kind", "generator"), models.Q(("algorithm", ""), _negated=True)),
                    _connector="OR",
                ),
                name="entry_trained_here_has_algorithm",
            ),
        ),
        migrations.AddConstraint(
            model_name="experiment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("budget_images__gte", 1), ("budget_seconds__isnull", True)),
                    models.Q(("budget_images__isnull", True), ("budget_seconds__gt", 0)),
                    models.Q(("budget_images__isnull", True), ("budget_seconds__isnull", True)),
                    _connector="OR",
                ),
                name="experiment_has_one_budget_at_most",
            ),
        ),
        migrations.AddConstraint(
            model_name="sampleset",
            constraint=models.UniqueConstraint(
                condition=models.Q(("run__isnull", True)),
                fields=("entry", "sampler_label", "seed"),
                name="sampleset_seed_unique_per_entry_without_runs",
            ),
        ),
    ]
