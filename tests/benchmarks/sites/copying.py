"""A filled site many times over, by the database itself: `DATA_DIR=… python -m tests.benchmarks.sites.copying 9`.

Every experiment is copied so often, with all that hangs on it and its rows on boards. One statement
for each table and copy: a hundred thousand runs take minutes.
"""

import argparse
import os
from typing import Any

import django
from django.db import connection, models, transaction

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

from experiments import models as experiments  # needs the lines above
from jobs.models import JobEvent
from leaderboards.models import Judgement, Judging, Score, Standing

COPIED: tuple[type[models.Model], ...] = (  # each after those that it refers to
    experiments.Experiment,
    experiments.Experiment.protocols.through,
    experiments.Entry,
    experiments.Run,
    experiments.Checkpoint,
    experiments.LossPoint,
    experiments.SampleSet,
    experiments.Evaluation,
    experiments.MetricValue,
    Standing,
    Score,
    Judgement,
    JobEvent,
)
JOBS = (experiments.Run, experiments.SampleSet, experiments.Evaluation)


def copy(times: int) -> None:
    """Copy every experiment so often."""
    last = {model: _last_key(model) for model in COPIED}
    for number in range(1, times + 1):
        with transaction.atomic(), connection.cursor() as cursor:
            for model in COPIED:
                cursor.execute(_statement(model, number, last))
    for judging in Judging.objects.all():
        judging.standings = Standing.objects.filter(protocol=judging.protocol_id).count()
        judging.save()


def _last_key(model: type[models.Model]) -> int:
    found = model._default_manager.order_by("pk").values_list("pk", flat=True).last()
    return int(found or 0)


def _statement(model: type[models.Model], number: int, last: dict[type[models.Model], int]) -> str:
    """Return what inserts a copy: keys moved by as many as there were, names told apart."""
    fields = model._meta.concrete_fields
    names = ", ".join(f'"{field.column}"' for field in fields)
    values = ", ".join(_value(field, number, last) for field in fields)
    key, table = model._meta.pk.column, model._meta.db_table
    return (  # of our own names and numbers alone
        f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" '  # noqa: S608
        f'WHERE "{key}" <= {last[model]}'
    )


def _value(
    field: "models.Field[Any, Any]", number: int, last: dict[type[models.Model], int]
) -> str:
    column, target = f'"{field.column}"', field.related_model
    if target in last:
        return f"{column} + {number * last[target]}"
    if field.primary_key:
        return f"{column} + {number * last[field.model]}"
    if field.model is experiments.Experiment and field.name == "name":
        return f"{column} || ' again {number}'"
    if field.model is JobEvent and field.name == "job_id":
        moved = " ".join(f"WHEN '{j.type_name()}' THEN {number * last[j]}" for j in JOBS)
        return f"{column} + CASE job_type {moved} ELSE 0 END"
    return column


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("times", type=int)
    copy(reader.parse_args().times)


if __name__ == "__main__":
    main()
