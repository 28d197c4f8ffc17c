"""Pictures by number, and the health of the site."""

from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from jobs.models import Worker
from tests import factories
from tests.web import scenes

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n"


def test_grids_are_pngs_kept_for_ever_under_their_digest(client: Client) -> None:
    drawn = factories.make_sample_set(files=True)
    preview = scenes.add_preview(factories.make_run(), images_seen=100)

    for address in (f"/samples/{drawn.pk}.png", f"/checkpoints/{preview.pk}.png"):
        plain, versioned = client.get(address), client.get(f"{address}?v=abc")

        assert b"".join(plain).startswith(PNG)
        assert plain["Content-Type"] == "image/png"
        assert plain["Cache-Control"] == "public, no-cache"
        assert versioned["Cache-Control"] == "public, max-age=31536000, immutable"
        plain.close()
        versioned.close()


def test_pictures_of_a_closed_site_are_kept_by_the_readers_browser_alone(
    client: Client, settings: Settings
) -> None:
    settings.PUBLIC_READ = False
    drawn = factories.make_sample_set(files=True)
    client.force_login(factories.make_user())

    response = client.get(f"/samples/{drawn.pk}.png")

    assert response["Cache-Control"] == "private, no-cache"
    response.close()


def test_a_picture_that_is_not_there_is_a_404(client: Client) -> None:
    drawn, checkpoint = factories.make_sample_set(), factories.make_checkpoint()

    for address in (
        f"/samples/{drawn.pk}.png",
        "/samples/999.png",
        f"/checkpoints/{checkpoint.pk}.png",
        "/checkpoints/999.png",
        "/samples/..%2f..%2fdb.png",
    ):
        assert client.get(address).status_code == 404, address


@pytest.mark.parametrize("preview", ["../outside.png", "/etc/hostname", "secret_key", "runs"])
def test_a_row_cannot_lead_out_of_the_data_folder_or_to_another_kind_of_file(
    client: Client, data_dir: Path, preview: str
) -> None:
    (data_dir / "secret_key").write_text("secret")
    (data_dir.parent / "outside.png").write_bytes(PNG)
    checkpoint = factories.make_checkpoint()
    checkpoint.preview = preview
    checkpoint.save()

    assert client.get(f"/checkpoints/{checkpoint.pk}.png").status_code == 404


def test_a_healthy_site_counts_workers_and_waiting_jobs(client: Client) -> None:
    factories.make_worker()
    factories.make_worker(alive=False)
    factories.make_experiment()  # a run and four controls

    response = client.get("/health/")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "workers_online": 1,
        "queued_jobs": 5,
    }


def test_a_site_whose_database_is_gone_is_unavailable(client: Client) -> None:
    # The one thing no test database can do is to be gone.
    with patch.object(Worker.objects, "all", side_effect=OperationalError("disk I/O error")):
        response = client.get("/health/")

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "database": "no answer"}


def test_health_is_open_on_a_closed_site(client: Client, settings: Settings) -> None:
    settings.PUBLIC_READ = False

    assert client.get("/health/").status_code == 200
