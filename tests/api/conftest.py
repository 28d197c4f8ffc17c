"""Clients of the REST interface."""

import pytest
from knox.models import AuthToken
from rest_framework.test import APIClient

from accounts.models import Role, User
from tests import factories, parquet_here
from tests.static import static_root

__all__ = ["static_root"]


@pytest.fixture
def anyone(db: None) -> APIClient:
    return APIClient()


@pytest.fixture
def user(db: None) -> User:
    return factories.make_user(role=Role.ADMIN)


@pytest.fixture
def writer(user: User) -> APIClient:
    """A client with a token."""
    _, token = AuthToken.objects.create(user)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


@pytest.fixture
def writer_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Parquet be written by this process."""
    monkeypatch.setattr("leaderboards.formats.parquet.subprocess", parquet_here)
