"""A site whose files are in a bucket: its backup is small, and a restored one fetches the rest."""

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets.in_memory import write_npz
from tests.operations.test_backups import BOARD, MAKE, ask
from tests.servers import Bucket, wait_until
from tests.site import Site

pytestmark = pytest.mark.slow
FETCHED = "from catalog import stored\n" + BOARD.replace(
    "sample_set.path.read_bytes()", "stored.fetch(sample_set.path).read_bytes()"
)
SECONDS = 300  # on a busy machine


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with closing(Bucket()) as server:
        yield server


@pytest.fixture
def original(migrated_data: Path, bucket: Bucket, tmp_path: Path) -> Iterator[Site]:
    data = shutil.copytree(migrated_data, tmp_path / "original")
    with closing(Site(data, **bucket.variables)) as site:
        yield site


@pytest.fixture
def other(bucket: Bucket, tmp_path: Path) -> Iterator[Site]:
    """Yield a site of another host, with the same bucket and nothing else."""
    (tmp_path / "other").mkdir()
    with closing(Site(tmp_path / "other", **bucket.variables)) as site:
        yield site


def moved(original: Site, other: Site, backup: Path) -> list[str]:
    """Restore a site elsewhere, lose the first with all its files; return what the backup held."""
    original.manage("backup", str(backup))
    shutil.rmtree(original.data)
    other.manage("restore", str(backup))
    with tarfile.open(backup) as archive:
        return archive.getnames()


def test_a_site_with_a_bucket_is_restored_elsewhere(
    original: Site, other: Site, bucket: Bucket, tmp_path: Path
) -> None:
    ask(original, MAKE)
    original.manage("store_files")
    before = ask(original, FETCHED)

    held = moved(original, other, tmp_path / "site.tar")

    pipeline = ["data/pipelines/ours/tiny/model_index.json"]
    pipeline += ["data/pipelines/ours/tiny/unet/weights.safetensors"]
    assert held == ["database", *pipeline, "manifest.json"]
    assert not (other.data / "samples").exists()
    assert ask(other, FETCHED) == before
    assert (other.data / "samples").is_dir()  # fetched since
    for kind in ("datasets", "extractors", "runs", "samples"):
        assert any(name.startswith(kind) for name in bucket.names()), kind


def test_samples_that_waited_are_scored_where_the_site_is_restored(
    original: Site, other: Site, tmp_path: Path
) -> None:
    original.manage("register_dataset", "digits", "--digits")
    how = ["--extractor", "pixels-pca64", "--metrics", "fd", "--num-images", "100"]
    made = original.manage("register_protocol", "digits", *how, "--admission-images", "0")
    protocol = made.stdout.split()[-1]
    pixels = np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), np.uint8)
    write_npz(tmp_path / "mine.npz", pixels, None)
    (tmp_path / "mine.yaml").write_text("system: Mine")
    given = [str(tmp_path / "mine.npz"), "--manifest", str(tmp_path / "mine.yaml")]
    original.manage("submit_samples", *given, "--protocol", protocol)

    held = moved(original, other, tmp_path / "site.tar")
    other.start_web()
    other.start_worker()

    assert held == ["database", "manifest.json"]
    found: dict[str, object] = {}

    def is_scored() -> bool:
        rows = other.get(f"/api/leaderboards/{protocol}/")["rows"]
        found.update({row["entry"]: row["seeds_scored"] for row in rows})
        return found.get("Mine") == 1

    wait_until(is_scored, seconds=SECONDS, what=f"the entry on the board\n{other.log()}")
    assert "every file is as it was written" in other.manage("verify_files").stdout
