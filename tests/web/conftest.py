"""What tests of pages have."""

import pytest
from django.test import Client

from accounts.models import User
from tests import factories
from tests.static import static_root

__all__ = ["static_root"]


@pytest.fixture
def ada(client: Client) -> User:
    """Return a submitter who is signed in."""
    user = factories.make_user()
    client.force_login(user)
    return user
