"""The admin shows datasets and protocols; what is frozen can be read but not written."""

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from catalog.models import Dataset
from catalog.preparation import DIGITS, prepare_packaged
from catalog.services import register_dataset
from evaluation.protocols.extractor_specs import INCEPTION
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(settings: Settings, tmp_path: Path) -> Client:
    settings.STATIC_ROOT = tmp_path  # one that exists, or WhiteNoise warns
    client = Client()
    client.force_login(User.objects.create_superuser("alice"))
    return client


@pytest.fixture
def digits() -> Dataset:
    with prepare_packaged(DIGITS) as prepared:
        return register_dataset("Digits", prepared, licence="CC BY 4.0")[0]


def test_the_lists_say_what_there_is(client: Client, digits: Dataset) -> None:
    protocol = factories.make_protocol(dataset=digits, name="inception-test", extractor=INCEPTION)

    datasets = client.get(reverse("admin:catalog_dataset_changelist")).content.decode()
    protocols = client.get(reverse("admin:catalog_protocol_changelist")).content.decode()

    for text in ("8×8×1", "10 classes", "1,297 + 500", digits.digest[:12], "register_dataset NAME"):
        assert text in datasets
    for text in ("inception-test", "FD[inception-v3-compat@", protocol.short, "register_protocol"):
        assert text in protocols


@pytest.mark.parametrize("model", ["dataset", "protocol"])
def test_nothing_is_added_by_hand(client: Client, model: str) -> None:
    assert client.get(reverse(f"admin:catalog_{model}_add")).status_code == 403


def test_only_the_words_about_a_dataset_can_be_changed(client: Client, digits: Dataset) -> None:
    url = reverse("admin:catalog_dataset_change", args=[digits.pk])

    page = client.get(url).content.decode()
    answer = client.post(
        url, {"name": "Handwritten", "source": "UCI", "licence": "CC0", "resolution": "16"}
    )

    assert answer.status_code == 302
    assert digits.train_digest in page and 'name="train_digest"' not in page
    changed = Dataset.objects.get()
    assert (changed.name, changed.licence, changed.resolution) == ("Handwritten", "CC0", 8)


def test_a_protocol_can_only_be_renamed(client: Client, digits: Dataset) -> None:
    protocol = factories.make_protocol(dataset=digits, name="inception-test", extractor=INCEPTION)
    url = reverse("admin:catalog_protocol_change", args=[protocol.pk])

    assert protocol.fingerprint in client.get(url).content.decode()
    assert client.post(url, {"name": "Ours", "num_images": "1"}).status_code == 302

    protocol.refresh_from_db()
    assert (protocol.name, protocol.num_images) == ("Ours", 500)
