from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from pytest_django.fixtures import Settings

from tests.notifications.receivers import Receiver, http_receiver
from tests.static import static_root

__all__ = ["static_root"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def loopback(settings: Settings) -> None:
    """Let webhooks lead to the receivers of tests, and nowhere else that is not public."""
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.1/32")]
