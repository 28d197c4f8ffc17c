"""Files in a bucket: hosts that share no disk work together, and what arrives is what was kept."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from io import StringIO
from pathlib import Path

import pytest
from botocore.config import Config
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from catalog import stored
from catalog.models import Dataset, StoredFile
from catalog.stored import DamagedError
from evaluation.imagesets.atomic import sha256_of
from experiments import services, tasks, work_logs
from experiments.models import Entry, Run
from jobs.logs import about
from jobs.models import Cause, Status
from operations import backups, health
from tests import factories
from tests.conftest import prepare
from tests.experiments.test_pipeline import queue_a_tiny_run
from tests.experiments.test_workers import checkpoints, run_of, submit, wait_for_status
from tests.servers import Bucket, wait_until
from tests.site import Site

Kind = StoredFile.Kind
NAME = "samples/1-1.npz"


@pytest.fixture(scope="session")
def s3() -> Iterator[Bucket]:
    with closing(Bucket()) as server:
        yield server


@pytest.fixture
def bucket(s3: Bucket, settings: Settings, data_dir: Path) -> Iterator[Bucket]:
    """Yield an empty bucket that the site of this process keeps its files in."""
    given = s3.variables
    options = {
        "bucket_name": given["S3_BUCKET"],
        "location": given["S3_PREFIX"],
        "endpoint_url": given["S3_ENDPOINT"],
        "region_name": given["S3_REGION"],
        "access_key": given["S3_ACCESS_KEY"],
        "secret_key": given["S3_SECRET_KEY"],
        "object_parameters": {"ChecksumAlgorithm": "SHA256"},
    }
    backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "files": backend}
    yield s3
    for name in s3.names():
        s3.client.delete_object(Bucket="trilemma", Key=f"site/{name}")


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.django_db
def test_what_was_kept_is_fetched_where_it_is_not(bucket: Bucket, data_dir: Path) -> None:
    content = b"0123" * 3_000_000  # in several parts
    path = write(data_dir / NAME, content)

    stored.keep(path, Kind.SAMPLES)
    path.unlink()

    assert stored.is_kept(path)
    assert stored.fetch(path).read_bytes() == content
    row = StoredFile.objects.get()
    assert (row.path, row.kind, row.bytes) == (NAME, Kind.SAMPLES, len(content))
    assert row.sha256 == sha256_of(path)
    assert list(stored.names()) == bucket.names() == [NAME]
    assert [left.name for left in data_dir.iterdir() if left.name.startswith(".fetch")] == []


@pytest.mark.django_db
def test_a_folder_is_fetched_whole_or_not_at_all(bucket: Bucket, data_dir: Path) -> None:
    folder = data_dir / "runs" / "1" / "ckpt-5"
    for name in ("manifest.json", "weights.safetensors"):
        write(folder / name, name.encode())
    write(data_dir / "runs" / "1" / "ckpt-50" / "weights.safetensors", b"another's")
    stored.keep(folder, Kind.CHECKPOINT)
    stored.keep(folder.with_name("ckpt-50"), Kind.CHECKPOINT)
    shutil.rmtree(data_dir / "runs")

    key = "site/runs/1/ckpt-5/weights.safetensors"
    bucket.client.put_object(Bucket="trilemma", Key=key, Body=b"other weights")
    with pytest.raises(DamagedError, match=r"^runs/1/ckpt-5/weights.safetensors: the bucket's has"):
        stored.fetch(folder)
    assert not folder.exists()

    bucket.client.put_object(Bucket="trilemma", Key=key, Body=b"weights.safetensors")
    stored.fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "weights.safetensors",
    ]
    assert not folder.with_name("ckpt-50").exists()


@pytest.mark.django_db
def test_a_damaged_copy_of_what_the_bucket_has_is_fetched_anew(
    bucket: Bucket, data_dir: Path
) -> None:
    dataset = factories.make_dataset(files=True)
    stored.keep(dataset.folder, Kind.DATASET)
    dataset.test_path.write_bytes(b"damaged here")

    dataset.verify()

    assert sha256_of(dataset.test_path) == dataset.test_digest
    key = f"site/{stored.name_of(dataset.train_path)}"
    bucket.client.put_object(Bucket="trilemma", Key=key, Body=b"damaged there")
    dataset.verify()
    dataset.train_path.write_bytes(b"damaged in both places")
    with pytest.raises(DamagedError, match="the bucket's has sha256"):
        dataset.verify()
    bucket.client.delete_object(Bucket="trilemma", Key=key)
    with pytest.raises(DamagedError, match=r"^dataset-.*train\.npz: File does not exist"):
        dataset.verify()


@pytest.mark.django_db
def test_what_was_never_kept_or_is_forgotten_is_not_there(bucket: Bucket, data_dir: Path) -> None:
    path = write(data_dir / NAME, b"images")
    assert not stored.fetch(data_dir / "samples" / "2-1.npz").exists()

    stored.keep(path, Kind.SAMPLES)
    path.unlink()
    stored.forget(path)

    assert bucket.names() == []
    assert not stored.is_kept(path)
    assert not stored.fetch(path).exists()


@pytest.mark.django_db
def test_without_a_bucket_rows_are_written_and_nothing_else(data_dir: Path) -> None:
    path = write(data_dir / NAME, b"images")
    owner = factories.make_user()

    stored.keep(path, Kind.SAMPLES, owner=owner)

    assert StoredFile.objects.get().owner == owner
    assert stored.fetch(path) == path
    path.unlink()
    assert not stored.is_kept(path)


@pytest.mark.django_db
def test_a_site_moves_into_a_bucket_is_verified_there_and_cleaned(
    bucket: Bucket, data_dir: Path
) -> None:
    dataset = factories.make_dataset(files=True)
    experiment = factories.make_experiment(dataset=dataset)
    drawn = factories.make_sample_set(run=Run.objects.get(), files=True)
    pipeline = write(data_dir / "pipelines" / "tiny" / "model_index.json", b"{}")
    config = {"pipeline": "tiny", "revision": ""}
    Entry.objects.create(experiment=experiment, kind="pipeline", label="Theirs", config=config)
    drawn.sha256 = sha256_of(drawn.path)
    drawn.save()
    assert drawn.status == Status.COMPLETED

    call_command("store_files", stdout=StringIO())
    assert not any(name.startswith("pipelines") for name in bucket.names())
    assert [each.files for each in backups.held()] == [(pipeline,)]  # all that no bucket has
    bucket.client.put_object(Bucket="trilemma", Key="site/samples/999-1.npz", Body=b"nobody's")
    shutil.rmtree(data_dir / "samples")
    shutil.rmtree(data_dir / "datasets")

    out, err = StringIO(), StringIO()
    call_command("verify_files", stdout=out)
    assert out.getvalue() == "every file is as it was written\n"
    call_command("collect_garbage", stdout=(found := StringIO()))
    assert found.getvalue() == "0 files, 0 bytes deleted\n"  # it is young
    key = f"site/{stored.name_of(dataset.train_path)}"
    bucket.client.put_object(Bucket="trilemma", Key=key, Body=b"damaged")
    bucket.client.delete_object(Bucket="trilemma", Key=f"site/{stored.name_of(drawn.path)}")
    with pytest.raises(CommandError, match="2 damaged or missing"):
        call_command("verify_files", stderr=err)
    assert f"{dataset.train_path}: has sha256" in err.getvalue()


@pytest.mark.django_db
def test_garbage_in_a_bucket_goes_with_its_row(
    bucket: Bucket, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(data_dir / "samples" / "999-1.npz", b"nobody's")
    stored.keep(path, Kind.SAMPLES)
    bucket.client.put_object(Bucket="trilemma", Key="site/letters/1.txt", Body=b"not ours")
    monkeypatch.setattr("operations.garbage.YOUNG_SECONDS", -10)

    call_command("collect_garbage", stdout=(out := StringIO()))

    assert out.getvalue() == "samples/999-1.npz\n1 files, 8 bytes deleted\n"
    assert bucket.names() == ["letters/1.txt"]
    assert not StoredFile.objects.exists()
    assert not path.exists()


@pytest.mark.django_db
def test_a_log_is_in_the_bucket_while_its_job_is_at_work(
    bucket: Bucket, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_logs, "UPLOAD_SECONDS", 0.05)
    run = factories.make_run(status=Status.RUNNING)
    attempt, logger = work_logs.Attempt(run, 1), logging.getLogger("some.library")

    with work_logs.kept(run), about("run", run.pk, 1):
        logger.warning("begun")
        wait_until(lambda: bucket.names(), seconds=30, what="the log")
        logger.warning("and more")
    attempt.path.unlink()  # this host is another one

    assert bucket.names() == [f"logs/run/{run.pk}-1.txt"]
    assert [line.rpartition(": ")[2] for line in attempt.text().splitlines()] == [
        "begun",
        "and more",
    ]
    assert not StoredFile.objects.exists()


@pytest.fixture
def nowhere(settings: Settings, data_dir: Path) -> None:
    """Let the bucket be in a store that does not answer."""
    options = {
        "bucket_name": "trilemma",
        "endpoint_url": "http://127.0.0.1:9",
        "region_name": "us-east-1",
        "access_key": "somebody",
        "secret_key": "something",
        "client_config": Config(retries={"max_attempts": 0}),
    }
    backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "files": backend}
    settings.S3_BUCKET = "trilemma"


NO_ANSWER = 'bucket trilemma: Could not connect to the endpoint URL: "http://127.0.0.1:9/'


@pytest.mark.django_db
@pytest.mark.usefixtures("nowhere")
def test_a_store_that_does_not_answer_is_said_in_a_sentence(client: Client, data_dir: Path) -> None:
    drawn = factories.make_sample_set(files=True)

    with pytest.raises(CommandError) as refused:
        call_command("store_files")
    with pytest.raises(CommandError, match=f"^{re.escape(NO_ANSWER)}"):
        call_command("collect_garbage")
    assert str(refused.value).startswith(f"not all was kept, run this again: {NO_ANSWER}")
    with pytest.raises(CommandError, match=f"^{re.escape(NO_ANSWER)}"):
        call_command("register_dataset", "packaged", "--digits")
    assert not Dataset.objects.filter(slug="packaged").exists()
    assert not StoredFile.objects.exists()
    assert not (data_dir / "datasets").exists() or not any((data_dir / "datasets").iterdir())
    assert health.storage() == "the bucket does not answer"
    StoredFile.objects.create(
        path=stored.name_of(drawn.grid_path), kind=Kind.PICTURE, bytes=1, sha256="0" * 64
    )
    drawn.grid_path.unlink()
    assert client.get(f"/samples/{drawn.pk}.png").status_code == 404
    assert client.get(f"/api/samplesets/{drawn.pk}/grid/").status_code == 404


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nowhere")
def test_a_job_whose_bucket_does_not_answer_fails_with_that_and_can_be_tried_again(
    settings: Settings,
) -> None:
    settings.BEAT_SECONDS = 600
    run = queue_a_tiny_run()

    tasks.train_run(run.pk)

    run.refresh_from_db()
    assert (run.status, run.cause) == (Status.FAILED, Cause.STORAGE)
    assert run.reason.startswith(f"files cannot be read or written: {NO_ANSWER}")
    settings.STORAGES = {name: how for name, how in settings.STORAGES.items() if name != "files"}
    assert services.retry_job(run, user=None)
    tasks.train_run(run.pk)
    run.refresh_from_db()
    assert (run.status, run.images_seen) == (Status.COMPLETED, 120)


@pytest.mark.slow
def test_workers_of_other_hosts_need_no_disk_of_the_web_host(s3: Bucket, tmp_path: Path) -> None:
    """The second worker's host has never seen what the first one's made before it was lost."""
    with ExitStack() as stack:
        site = stack.enter_context(closing(Site(tmp_path, **s3.variables)))
        (tmp_path / "web").mkdir()
        site.data = tmp_path / "web"
        site.env |= {
            "DATA_DIR": str(site.data),
            "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3",
            "CHECKPOINT_SECONDS": "1",
        }
        prepare(site)
        site.start_web()
        worker = site.start_worker("one", env={"DATA_DIR": str(tmp_path / "one")})
        experiment = submit(site, images=40_000, algorithms=["vae.conv"])
        run = run_of(site, experiment)["id"]
        wait_until(lambda: len(checkpoints(site, run)) >= 2, seconds=60, what="two checkpoints")

        site.kill(worker)
        shutil.rmtree(tmp_path / "one")
        site.start_worker("two", env={"DATA_DIR": str(tmp_path / "two")})
        wait_for_status(site, experiment, "completed", seconds=600)  # a checkpoint every second

        done = run_of(site, experiment)
        assert (done["attempt"], done["images_seen"]) == (2, 40_000)
        assert done["environment"]["resumed"] == "exactly"
        assert not (site.data / "runs").exists()
        (drawn,) = site.get(f"/api/samplesets/?run={run}")["results"]
        assert site.read(f"/api/samplesets/{drawn['id']}/file/")[:2] == b"PK"
        assert site.read(f"/api/samplesets/{drawn['id']}/grid/")[1:4] == b"PNG"
        kept = [name for name in s3.names() if name.startswith(f"runs/{run}/ckpt-")]
        assert len(kept) == 2 * 2  # weights and manifest of the newest two
