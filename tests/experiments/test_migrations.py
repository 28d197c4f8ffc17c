"""Migrations of rows that older versions wrote."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = [("experiments", "0001_initial")]
AFTER = [("experiments", "0003_control_kinds")]


@pytest.fixture(autouse=True)
def _up_to_date() -> Iterator[None]:
    """Leave the tables as the other tests want them."""
    yield
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.mark.slow
def test_the_only_control_there_was_is_named_real_test_images() -> None:
    MigrationExecutor(connection).migrate(BEFORE)
    apps = MigrationExecutor(connection).loader.project_state(BEFORE).apps
    dataset = apps.get_model("catalog", "Dataset").objects.create(
        slug="old", resolution=8, channels=1, train_size=2, test_size=2, digest="0" * 64
    )
    experiment = apps.get_model("experiments", "Experiment").objects.create(
        name="old", dataset=dataset, budget_images=1, seeds=[0]
    )
    entries = apps.get_model("experiments", "Entry").objects
    entries.create(experiment=experiment, kind="control", label="Real test images")
    entries.create(experiment=experiment, algorithm="vae.conv", label="VAE", config={"beta": 1})

    MigrationExecutor(connection).migrate(AFTER)

    apps = MigrationExecutor(connection).loader.project_state(AFTER).apps
    configs = apps.get_model("experiments", "Entry").objects.values_list("label", "config")
    assert dict(configs) == {"Real test images": {"control": "test"}, "VAE": {"beta": 1}}
