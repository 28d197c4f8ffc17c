"""A site in one file and back: the same board, verified files, and nothing half-written."""

import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from operations import backup_file
from operations.backup_file import ArchiveError, Manifest
from tests.servers import postgres_program, postgres_server
from tests.site import Site

SETUP = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
"""
MAKE = """
from django.conf import settings
from experiments.models import Checkpoint, Run, SampleSet, Viewing
from tests import factories
dataset = factories.make_dataset(slug="shapes", files=True)
weights = settings.DATA_DIR / "extractors" / "classifier-1" / "weights.safetensors"
weights.parent.mkdir(parents=True)
weights.write_bytes(b"weights")
(weights.parent / "manifest.json").write_text("{}")
protocol = factories.make_protocol(
    dataset=dataset, extractor_weights=str(weights.relative_to(settings.DATA_DIR))
)
alice = factories.make_user(username="alice", role="admin")
experiment = factories.make_experiment(
    protocols=[protocol], algorithms=["gan.sngan", "vae.conv"], seeds=[0, 1]
)
for number, entry in enumerate(factories.contenders_of(experiment)):
    values = [{"fd": number + seed / 3, "kd": 1 / 7} for seed in experiment.seeds]
    factories.make_scores(entry=entry, protocol=protocol, values=values)
for run in Run.objects.all():
    factories.make_sample_set(run=run, files=True)
    factories.make_log(run)
    factories.make_checkpoint(run=run, images_seen=500)  # its weights were deleted since
viewing = Viewing.objects.create(run=Run.objects.first(), kind="verdict", created_by=alice)
factories.finish_viewing(viewing)
for checkpoint in Checkpoint.objects.filter(images_seen=1000):
    folder = settings.DATA_DIR / checkpoint.path
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(bytes(990))
    (folder / "manifest.json").write_bytes(bytes(10))
from experiments.models import Entry
config = {"pipeline": "ours/tiny", "revision": ""}
Entry.objects.create(experiment=experiment, kind="pipeline", label="Theirs", config=config)
for name in ("model_index.json", "unet/weights.safetensors"):
    part = settings.DATA_DIR / "pipelines" / "ours" / "tiny" / name
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(name)
for name in ("log", "features"):
    (settings.DATA_DIR / name).mkdir()
    (settings.DATA_DIR / name / "kept-out").write_text("a log or a cache")
"""
BOARD = """
from django.test import Client
from catalog.models import Dataset, Protocol
from experiments.models import Run, SampleSet
client = Client(SERVER_NAME="localhost")
[protocol] = Protocol.objects.all()
print(client.get(f"/api/leaderboards/{protocol.fingerprint}/?format=csv").getvalue().decode())
Dataset.objects.get().verify()
for sample_set in SampleSet.objects.filter(run__isnull=False):
    print(sample_set.pk, client.get(f"/samples/{sample_set.pk}.png").status_code)
    print(len(sample_set.path.read_bytes()), sample_set.checkpoint.is_kept)
from experiments.models import Viewing
print([client.get(f"/viewings/{each.pk}.png").status_code for each in Viewing.objects.all()])
from django.conf import settings
folder = settings.DATA_DIR / "pipelines"
print(sorted((str(path.relative_to(folder)), path.read_text()) for path in folder.rglob("*.*")))
"""

WORK = """
from datetime import timedelta
from django.utils import timezone
from tests import factories
factories.make_worker(last_seen=timezone.now() + timedelta(minutes=5))
"""


@pytest.fixture(scope="module")
def original(migrated_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site with an experiment of four runs that are trained, sampled and scored."""
    site = Site(shutil.copytree(migrated_data, tmp_path_factory.mktemp("original") / "data"))
    ask(site, MAKE)
    return site


@pytest.fixture(scope="module")
def backup(original: Site) -> Path:
    path = original.data / "site.tar"
    original.manage("backup", str(path))
    return path


@pytest.fixture
def other(tmp_path: Path) -> Site:
    (tmp_path / "other").mkdir()
    return Site(tmp_path / "other")


@pytest.fixture(scope="module")
def restored_data(backup: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of a site that was restored; tests only read it."""
    site = Site(tmp_path_factory.mktemp("restored"))
    site.manage("restore", str(backup))
    return site.data


@pytest.fixture
def restored(restored_data: Path, tmp_path: Path) -> Site:
    return Site(shutil.copytree(restored_data, tmp_path / "restored"))


def ask(site: Site, code: str) -> str:
    """Return what Python code prints that runs in a site."""
    return site.run("-c", SETUP + code).stdout


def contents(folder: Path) -> dict[str, bytes]:
    """Return everything that a restore may change, except what SQLite keeps beside its file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def rewritten(backup: Path, path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Return a copy of a backup in which some files have other bytes."""
    with tarfile.open(backup) as source, tarfile.open(path, "w") as target:
        for member in source:
            file = source.extractfile(member)
            assert file
            data = change(member.name, file.read())
            member.size = len(data)
            target.addfile(member, io.BytesIO(data))
    return path


# --- a round trip --------------------------------------------------------------------------------


def test_a_site_restored_elsewhere_shows_the_same_board(
    original: Site, backup: Path, other: Site
) -> None:
    restored = other.manage("restore", str(backup))

    assert "migrate" in restored.stdout
    assert other.manage("migrate", "--check").returncode == 0
    before, after = ask(original, BOARD), ask(other, BOARD)
    assert "SNGAN" in before
    assert "ours/tiny/unet/weights.safetensors" in before
    assert "\n[200]\n" in before  # the viewing's pictures
    assert after == before


def test_a_backup_holds_what_rows_refer_to_and_nothing_else(backup: Path) -> None:
    with tarfile.open(backup) as archive:
        names = archive.getnames()

    folders = {name.split("/")[1] for name in names if name.startswith("data/")}
    assert folders == {"datasets", "extractors", "logs", "pipelines", "runs", "samples", "viewings"}
    assert [name for name in names if not name.startswith("data/")] == ["database", "manifest.json"]
    assert len([name for name in names if name.endswith("weights.safetensors")]) == 6
    assert "data/extractors/classifier-1/manifest.json" in names
    assert backup.stat().st_mode & 0o077 == 0
    assert [path.name for path in backup.parent.glob(".site.tar*")] == []


def test_a_backup_is_never_written_over(original: Site, backup: Path) -> None:
    before = backup.read_bytes()

    again = original.manage("backup", str(backup), check=False)

    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert backup.read_bytes() == before


def test_what_is_missing_is_named_and_the_rest_is_written(
    original: Site, backup: Path, tmp_path: Path, restored: Site
) -> None:
    lost = next((restored.data / "samples").glob("*.npz"))
    lost.unlink()
    shutil.rmtree(next((restored.data / "runs").rglob("ckpt-1000")))

    done = restored.manage("backup", str(tmp_path / "second.tar"))

    assert f"missing: data/samples/{lost.name}\n" in done.stderr
    assert "ckpt-1000" in done.stderr
    assert "ckpt-500" not in done.stderr
    with tarfile.open(tmp_path / "second.tar") as archive:
        assert f"data/samples/{lost.stem}.png" not in archive.getnames()


def test_a_backup_does_not_wait_for_readers_and_sees_one_moment(
    original: Site, tmp_path: Path
) -> None:
    with sqlite3.connect(original.data / "db.sqlite3") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM experiments_run").fetchone()
        original.manage("backup", str(tmp_path / "read.tar"))

    with tarfile.open(tmp_path / "read.tar") as archive:
        database = archive.extractfile("database")
        assert database is not None
        (tmp_path / "database").write_bytes(database.read())
    with sqlite3.connect(tmp_path / "database") as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM experiments_run").fetchone() == (4,)


# --- what is refused, and that nothing changes then ----------------------------------------------


def test_a_site_with_rows_is_replaced_only_by_force(
    original: Site, backup: Path, restored: Site
) -> None:
    (restored.data / "samples" / "stray.npz").write_bytes(b"of nobody")
    before = contents(restored.data)

    refused = restored.manage("restore", str(backup), check=False)
    assert refused.returncode == 1
    assert "nothing was restored: the database has users already" in refused.stderr
    assert contents(restored.data) == before

    restored.manage("restore", str(backup), "--force")
    assert not (restored.data / "samples" / "stray.npz").exists()
    assert ask(restored, BOARD) == ask(original, BOARD)
    assert list(restored.data.glob(".restore-*")) == []


def test_a_folder_with_files_is_replaced_only_by_force(backup: Path, other: Site) -> None:
    (other.data / "samples").mkdir()
    (other.data / "samples" / "1-1.npz").write_bytes(b"of somebody")

    refused = other.manage("restore", str(backup), check=False)

    assert "has files already" in refused.stderr
    assert (other.data / "samples" / "1-1.npz").read_bytes() == b"of somebody"
    assert not (other.data / "datasets").exists()


def test_a_site_at_work_is_not_replaced(backup: Path, restored: Site) -> None:
    ask(restored, WORK)

    refused = restored.manage("restore", str(backup), "--force", check=False)

    assert "a worker is at work here" in refused.stderr


@pytest.mark.parametrize("damaged", ["database", "samples/", "datasets/", "weights.safetensors"])
def test_one_wrong_byte_anywhere_restores_nothing(
    backup: Path, tmp_path: Path, other: Site, damaged: str
) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if damaged in name else data

    path = rewritten(backup, tmp_path / "damaged.tar", change)

    with pytest.raises(ArchiveError, match="is damaged: its sha256 is not the manifest's"):
        backup_file.unpack(path, other.data)


def test_a_damaged_backup_leaves_the_site_as_it_was(
    backup: Path, tmp_path: Path, restored: Site
) -> None:
    before = contents(restored.data)
    path = tmp_path / "cut.tar"
    path.write_bytes(backup.read_bytes()[:-20_000])

    refused = restored.manage("restore", str(path), "--force", check=False)

    assert refused.returncode == 1
    assert "no backup, or not a whole one" in refused.stderr
    assert contents(restored.data) == before


@pytest.mark.slow
def test_a_database_that_is_none_takes_the_files_back_as_well(
    backup: Path, tmp_path: Path, restored: Site
) -> None:
    before = contents(restored.data)
    nonsense = b"SQLite format 3\0" + bytes(5000)

    def change(name: str, data: bytes) -> bytes:
        if name == "database":
            return nonsense
        if name != "manifest.json":
            return data
        record = json.loads(data)
        record["files"]["database"] = sha256(nonsense).hexdigest()
        return json.dumps(record).encode()

    path = rewritten(backup, tmp_path / "nonsense.tar", change)
    refused = restored.manage("restore", str(path), "--force", check=False)

    assert refused.returncode == 1
    assert "nothing was restored: the database" in refused.stderr
    assert contents(restored.data) == before


def test_a_backup_of_another_kind_of_database_is_refused(
    backup: Path, tmp_path: Path, other: Site
) -> None:
    def change(name: str, data: bytes) -> bytes:
        return data.replace(b'"sqlite"', b'"postgresql"') if name == "manifest.json" else data

    path = rewritten(backup, tmp_path / "postgres.tar", change)

    refused = other.manage("restore", str(path), check=False)

    assert "expected a backup of sqlite, got one of postgresql" in refused.stderr


def test_a_file_that_is_not_there_is_said_in_a_sentence(other: Site) -> None:
    refused = other.manage("restore", "nowhere.tar", check=False)

    assert "nothing was restored: [Errno 2]" in refused.stderr
    assert "Traceback" not in refused.stderr


# --- archives that somebody made up --------------------------------------------------------------


def made_up(path: Path, *members: tuple[str, Any], manifest: bytes | None = None) -> Path:
    """Return an archive of these members, bytes or a TarInfo, with a manifest that agrees."""
    digests = {name: sha256(data).hexdigest() for name, data in members if type(data) is bytes}
    whole = Manifest("sqlite", "0", "now", files=digests).to_json()
    with tarfile.open(path, "w") as archive:
        for name, data in [
            *members,
            (backup_file.MANIFEST, whole if manifest is None else manifest),
        ]:
            if isinstance(data, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                archive.addfile(data)
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder to unpack into, and see that nothing came to lie beside it."""
    folder = tmp_path / "outer" / "inner"
    folder.mkdir(parents=True)
    yield folder
    assert list((tmp_path / "outer").iterdir()) == [folder]


@pytest.mark.parametrize(
    "name",
    [
        *("../evil", "/tmp/evil", "data/../../evil", "data/samples/../../../evil", "evil"),  # noqa: S108  # refused
        *("data/evil", "data//samples/evil", "./database", "data/samples", "data/broker/evil"),
        *("data/samples/", "data/static/evil.js", "data/samples/./evil", "secret_key"),
        "data/samples/\\..\\..\\evil/..",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, place: Path, name: str) -> None:
    path = made_up(tmp_path / "evil.tar", ("database", b"x"), (name, b"evil"))

    with pytest.raises(ArchiveError):
        backup_file.unpack(path, place)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_only_plain_files_are_unpacked(tmp_path: Path, place: Path, kind: bytes) -> None:
    path = made_up(
        tmp_path / "evil.tar",
        ("database", b"x"),
        ("data/samples/a", link("data/samples/a", "/etc", kind)),
        ("data/samples/a/passwd", b"evil"),
    )

    with pytest.raises(ArchiveError, match="is no plain file"):
        backup_file.unpack(path, place)


def test_a_file_twice_or_where_a_folder_is_is_refused(tmp_path: Path, place: Path) -> None:
    for second in ("data/samples/a", "data/samples/a/b"):
        path = made_up(tmp_path / "x.tar", ("data/samples/a", b"1"), (second, b"2"))

        with pytest.raises(ArchiveError, match="is there twice"):
            backup_file.unpack(path, place)
        shutil.rmtree(place / "data")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 1}',
        b'{"format": 2}',
        b'{"format": 1, "evil": 2}',
        b"[" * 9999,
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, place: Path, manifest: bytes) -> None:
    path = made_up(tmp_path / "x.tar", ("database", b"x"), manifest=manifest)

    with pytest.raises(ArchiveError, match=r"cannot be read|expected a backup of format 1, got 2"):
        backup_file.unpack(path, place)


def test_what_the_manifest_does_not_know_or_misses_is_refused(tmp_path: Path, place: Path) -> None:
    def manifest(**files: str) -> bytes:
        return Manifest("sqlite", "0", "now", files=files).to_json()

    known = {"database": sha256(b"x").hexdigest()}
    path = tmp_path / "x.tar"
    for files, said in (
        ({}, "the backup has no database"),
        ({**known, "data/samples/a": "0"}, "in the manifest, but not in the archive"),
    ):
        made_up(path, ("database", b"x"), manifest=manifest(**files))
        with pytest.raises(ArchiveError, match=said):
            backup_file.unpack(path, place)
        (place / "database").unlink()

    made_up(path, ("database", b"x"), ("data/samples/a", b"y"), manifest=manifest(**known))
    with pytest.raises(ArchiveError, match="in the archive, but not in the manifest"):
        backup_file.unpack(path, place)


# --- PostgreSQL ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("pg_dump") is None or postgres_program("initdb") is None, reason="needs PostgreSQL"
)
def test_a_site_on_postgresql_makes_the_same_round_trip(tmp_path: Path) -> None:
    sites = [tmp_path / "one", tmp_path / "two"]
    for folder in sites:
        folder.mkdir()
    with postgres_server() as first, postgres_server() as second:
        original, other = Site(sites[0], DATABASE_URL=first), Site(sites[1], DATABASE_URL=second)
        original.manage("migrate", "-v", "0")
        ask(original, MAKE)
        original.manage("backup", str(tmp_path / "site.tar"))

        other.manage("restore", str(tmp_path / "site.tar"))
        assert ask(other, BOARD) == ask(original, BOARD)

        other.manage("restore", str(tmp_path / "site.tar"), "--force")
        assert ask(other, BOARD) == ask(original, BOARD)


def test_without_postgresqls_programs_a_backup_says_what_to_install(
    other: Site, tmp_path: Path
) -> None:
    other.env["PATH"] = str(tmp_path)
    code = "from operations import databases; databases._run('pg_dump', [])"

    refused = other.run("-c", SETUP + code, check=False)

    assert "pg_dump is not installed; it is one of PostgreSQL's client programs" in refused.stderr
