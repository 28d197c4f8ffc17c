import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("slug", models.SlugField(db_index=False, max_length=100)),
                ("name", models.CharField(max_length=200)),
                ("resolution", models.PositiveIntegerField(help_text="pixels a side")),
                ("channels", models.PositiveSmallIntegerField(help_text="1 = grey, 3 = RGB")),
                (
                    "classes",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="names in label order; empty = unlabelled",
                    ),
                ),
                ("train_size", models.PositiveIntegerField(help_text="images")),
                ("test_size", models.PositiveIntegerField(help_text="images")),
                (
                    "digest",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[0-9a-f]{64}\\Z", "expected 64 lower-case hexadecimal digits"
                            )
                        ],
                    ),
                ),
                (
                    "train_digest",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[0-9a-f]{64}\\Z", "expected 64 lower-case hexadecimal digits"
                            )
                        ],
                    ),
                ),
                (
                    "test_digest",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[0-9a-f]{64}\\Z", "expected 64 lower-case hexadecimal digits"
                            )
                        ],
                    ),
                ),
                ("source", models.TextField(blank=True, help_text="where the images come from")),
                ("licence", models.TextField(blank=True)),
                (
                    "preparation",
                    models.TextField(blank=True, help_text="what was done to the images, in words"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["slug"],
                "constraints": [
                    models.UniqueConstraint(fields=("slug",), name="dataset_slug_unique"),
                    models.UniqueConstraint(fields=("digest",), name="dataset_content_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("channels__in", [1, 3])),
                        name="dataset_is_grey_or_colour",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("resolution__gt", 0)),
                        name="dataset_resolution_is_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("test_size__gt", 0), ("train_size__gt", 0)),
                        name="dataset_has_both_splits",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Protocol",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("record", models.JSONField(help_text="everything that decides a value")),
                (
                    "fingerprint",
                    models.CharField(
                        max_length=64,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[0-9a-f]{64}\\Z", "expected 64 lower-case hexadecimal digits"
                            )
                        ],
                    ),
                ),
                ("extractor", models.CharField(max_length=100)),
                (
                    "extractor_weights",
                    models.CharField(
                        blank=True, help_text="file, relative to the data folder", max_length=500
                    ),
                ),
                (
                    "facts",
                    models.JSONField(
                        blank=True, default=dict, help_text="for people; not in the record"
                    ),
                ),
                (
                    "num_images",
                    models.PositiveIntegerField(help_text="generated images that are scored"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="protocols",
                        to="catalog.dataset",
                    ),
                ),
            ],
            options={
                "ordering": ["dataset", "name", "pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("fingerprint",), name="protocol_fingerprint_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("num_images__gt", 0)),
                        name="protocol_scores_at_least_one_image",
                    ),
                ],
            },
        ),
    ]
