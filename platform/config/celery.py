"""The Celery application. A message only rings the bell: the rows are the queue."""

import os
from pathlib import Path

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.conf import settings  # needs the line above

TASKS_OF_A_CONNECTION = 500  # to a database server: a new one doubles what a claim takes
LOOKS_EVERY = 0.1  # seconds between looks of an idle worker for files of messages


def filesystem_folders() -> dict[str, str]:
    """Return the folders of the filesystem transport, made if missing."""
    root = Path(settings.DATA_DIR) / "broker"
    folders = {"data_folder_in": root / "queue", "data_folder_out": root / "queue"}
    folders["control_folder"] = root / "control"
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    return {name: str(folder) for name, folder in folders.items()}


app = Celery("trilemma")
app.conf.update(
    broker_url=settings.BROKER_URL,
    broker_connection_retry_on_startup=True,
    task_default_queue="default",
    task_ignore_result=True,
    task_acks_late=False,  # the row is the truth; a lost message is rung again
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    timezone="UTC",
)
if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    app.conf.update(CELERY_DB_REUSE_MAX=TASKS_OF_A_CONNECTION)
TRANSPORT_ALIASES["filesystem"] = "config.broker:Transport"
if settings.BROKER_URL.startswith("filesystem"):
    app.conf.broker_transport_options = {**filesystem_folders(), "polling_interval": LOOKS_EVERY}
app.autodiscover_tasks()
