"""Somebody who may do everything in the admin, and a protocol to submit under."""

import pytest
from django.test import Client

from accounts.models import Role, User
from catalog.models import Protocol
from tests import factories
from tests.static import static_root

__all__ = ["static_root"]


@pytest.fixture
def root(db: None) -> User:
    return factories.make_user(role=Role.ADMIN)


@pytest.fixture
def admin(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture
def protocol(db: None) -> Protocol:
    return factories.make_protocol(dataset=factories.make_dataset(slug="digits"))
