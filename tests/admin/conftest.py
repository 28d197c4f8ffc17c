"""Somebody who may do everything in the admin."""

import pytest
from django.test import Client

from accounts.models import Role, User
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
