"""A worker's presence: its row, and the rounds it makes so that no job is forgotten."""

import logging
import os
import platform
import shutil
import signal
import subprocess
import threading
from datetime import timedelta
from typing import Any

from billiard.process import current_process
from celery import current_app
from celery.signals import (
    celeryd_after_setup,
    task_prerun,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from celery.worker import state
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Q
from django.db.models.functions import Now

from jobs import lifecycle
from jobs.models import GB, Job, Order, Pause, Status, Worker

logger = logging.getLogger(__name__)
RING_AGAIN = timedelta(seconds=10)  # a bell that nobody answered this long is rung again
_stopping = threading.Event()
_ending = threading.Event()  # a warm shutdown has begun


def gpus() -> list[tuple[str, str, int]]:
    """Return index, name and memory in bytes of each GPU, asked of the driver, not of torch.

    Of those that CUDA_VISIBLE_DEVICES names, where it is set.
    """
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        query.append(f"--id={visible}")
    answer = subprocess.run(query, capture_output=True, text=True, check=False)  # noqa: S603  # of the driver
    rows = answer.stdout.splitlines() if answer.returncode == 0 else []
    found = [[part.strip() for part in row.split(",")] for row in rows]
    return [(index, name, int(mebibytes) * 2**20) for index, name, mebibytes in found]


def device() -> tuple[str, int]:
    """Return the device's name and its memory in bytes; of several GPUs the smallest's."""
    if found := gpus():
        names = sorted({name for _, name, _ in found})
        count = f"{len(found)} × " if len(found) > 1 else ""
        return count + ", ".join(names), min(memory for *_, memory in found)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"CPU, {os.cpu_count()} cores", memory


def this_worker() -> Worker:
    """Return the row of the worker that runs the current task."""
    task = current_app.current_task
    hostname = task.request.hostname if task else None
    return present(hostname or f"direct@{platform.node()}", queues=[])


def present(name: str, *, queues: list[str]) -> Worker:
    """Return the worker's row, made at the first call and seen now."""
    found = Worker.objects.filter(name=name).first()
    if found and not queues:
        return found
    device_name, memory_bytes = device()
    Worker.objects.update_or_create(
        name=name,
        defaults={
            "host": platform.node(),
            "queues": queues,
            "device": device_name,
            "memory_bytes": memory_bytes,
            "version": settings.VERSION,
            "pid": os.getpid(),
            "started_at": Now(),
            "last_seen": Now(),
            "order": "",
        },
    )
    return Worker.objects.get(name=name)


def ring_forgotten(worker: Worker, *, at_most: int) -> None:
    """Ring for queued jobs that fit the worker and whose bell nobody answered."""
    silent = Q(rung_at__isnull=True) | Q(rung_at__lt=Now() - RING_AGAIN)
    fits = Q(queue__in=worker.queues, memory_gb__lte=worker.memory_bytes // GB)
    for kind in Job.kinds():
        waiting = kind._default_manager.filter(silent, fits, status=Status.QUEUED)
        for job in waiting.order_by("queued_at")[:at_most]:
            lifecycle.ring(job)


def make_round(worker: Worker, *, idle: bool) -> None:
    """Say that the worker is here, take back lost jobs; with room for more, look for forgotten.

    A worker that was told to stop ends as if by SIGTERM; one that was told to drain stays, and one
    that was removed from the list comes back to it.
    """
    Worker.objects.filter(pk=worker.pk).update(last_seen=Now())
    lifecycle.requeue_lost()
    Worker.objects.filter(pk=worker.pk, order=Order.REMOVED).update(order="")
    worker.refresh_from_db(fields=["order"])
    if worker.order == Order.STOP and not _ending.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
    if idle and not worker.order and not Pause.objects.exists():
        ring_forgotten(worker, at_most=4)


def _make_rounds(worker: Worker, concurrency: int) -> None:
    while not _stopping.wait(settings.BEAT_SECONDS):
        try:
            make_round(worker, idle=len(state.reserved_requests) < concurrency)
        except DatabaseError as error:
            logger.warning("worker %s: round missed: %s", worker.name, error)
            connections.close_all()
    connections.close_all()


@celeryd_after_setup.connect
def share_cores(instance: Any, **kwargs: Any) -> None:
    """Give each of a worker's processes its part of the cores, before they are forked.

    Jobs that each take all cores wait for each other in every operation.
    """
    if instance.concurrency > 1 and not settings.TORCH_THREADS:
        settings.TORCH_THREADS = max(1, (os.cpu_count() or 1) // instance.concurrency)


@worker_process_init.connect
def take_one_gpu(**kwargs: Any) -> None:
    """Let each process of a worker see one GPU, in turn, before torch looks for them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = [name for name in visible if name] or [index for index, *_ in gpus()]
    if len(names) > 1:
        number = current_process().index  # type: ignore[attr-defined]  # of a pool's process
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
        logger.info("process %d has the GPU %s", number, os.environ["CUDA_VISIBLE_DEVICES"])


@task_prerun.connect
def look_at_connections(**kwargs: Any) -> None:
    """Let connections that were kept since the last task be tried before they are used."""
    for kept in connections.all(initialized_only=True):
        kept.health_check_done = False  # type: ignore[attr-defined]  # not in the stubs


@worker_ready.connect
def begin(sender: Any, **kwargs: Any) -> None:
    """Present the worker and start its rounds, in the worker's main process."""
    queues = sorted(sender.task_consumer.queues, key=str) if sender.task_consumer else []
    worker = present(sender.hostname, queues=[str(getattr(q, "name", q)) for q in queues])
    _stopping.clear()
    _ending.clear()
    connections.close_all()  # children forked from here on open their own
    threading.Thread(
        target=_make_rounds,
        args=[worker, sender.pool.num_processes],
        name="presence",
        daemon=True,
    ).start()


@worker_shutting_down.connect
def hand_back(sender: str, **kwargs: Any) -> None:
    """Let the heartbeats of running jobs see that the worker is ending: they hand them back."""
    _ending.set()
    try:
        Worker.objects.filter(name=sender).update(order=Order.STOP)
    except DatabaseError as error:
        logger.warning("worker %s: its jobs are not handed back: %s", sender, error)


@worker_shutdown.connect
def end(**kwargs: Any) -> None:
    _stopping.set()
