"""Names that are given in the admin follow the rule of registration."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("name", "kept"), [("a\u202eb", "before"), (" after ", "after")])
def test_a_protocol_takes_no_name_that_reads_like_another(
    client: Client, name: str, kept: str
) -> None:
    protocol = factories.make_protocol(name="before")
    client.force_login(factories.make_user(role=Role.ADMIN))

    answer = client.post(
        reverse("admin:catalog_protocol_change", args=[protocol.pk]), {"name": name}
    )

    protocol.refresh_from_db()
    assert protocol.name == kept
    assert ("marks of direction" in answer.content.decode()) == (kept == "before")
