"""The REST interface answers each visitor and each account a limited number of times."""

from typing import Any

import pytest
from django.core.cache import cache
from pytest_django import Settings
from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def few(settings: Settings) -> None:
    cache.clear()
    settings.API_RATE_VISITOR = "2/minute"
    settings.API_RATE_ACCOUNT = "3/minute"


def statuses(client: APIClient, times: int, **headers: Any) -> list[int]:
    return [client.get("/api/runs/", **headers).status_code for _ in range(times)]


def test_a_visitor_who_asks_too_often_is_told_when_to_come_back(anyone: APIClient) -> None:
    assert statuses(anyone, 2) == [200, 200]

    refused = anyone.get("/api/datasets/")

    assert refused.status_code == 429
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert "throttled" in refused.json()["detail"]


def test_visitors_are_told_apart_by_address_and_not_by_what_they_claim(anyone: APIClient) -> None:
    assert statuses(anyone, 2, HTTP_X_FORWARDED_FOR="203.0.113.1") == [200, 200]

    assert statuses(anyone, 1, HTTP_X_FORWARDED_FOR="203.0.113.2") == [429]
    assert statuses(anyone, 1, REMOTE_ADDR="192.0.2.7") == [200]


def test_an_account_has_a_limit_of_its_own_wherever_it_is(
    anyone: APIClient, writer: APIClient
) -> None:
    assert statuses(anyone, 3) == [200, 200, 429]

    assert statuses(writer, 3) == [200, 200, 200]
    assert statuses(writer, 1, REMOTE_ADDR="192.0.2.7") == [429]
    assert writer.post("/api/experiments/", {}).status_code == 429


def test_without_rates_nobody_is_limited(anyone: APIClient, settings: Settings) -> None:
    settings.API_RATE_VISITOR = ""

    assert statuses(anyone, 5) == [200] * 5
