"""Lists of jobs in the admin."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from experiments.models import Run
from jobs.admin import JobAdmin
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_list_of_jobs_is_put_in_order_by_the_columns_it_offers_alone(client: Client) -> None:
    factories.make_experiment(seeds=(0, 1, 2))
    newest = list(Run.objects.order_by("-pk"))
    Run.objects.filter(pk=newest[0].pk).update(attempt=0)
    Run.objects.filter(pk=newest[1].pk).update(attempt=2)
    client.force_login(factories.make_user(role=Role.ADMIN))
    place = 1 + JobAdmin.list_display.index("attempt")

    page = client.get(reverse("admin:experiments_run_changelist"), {"o": f"-{place}"})

    assert [run.pk for run in page.context["cl"].result_list] == [run.pk for run in newest]
