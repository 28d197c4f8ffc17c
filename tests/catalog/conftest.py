"""What tests of the catalog have."""

from pathlib import Path

import pytest

from catalog.models import file_sha256


@pytest.fixture
def weights(tmp_path: Path, data_dir: Path) -> Path:
    """Return a weights file that was checked and kept earlier, so that nothing loads it now."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"not the published ones")
    kept = data_dir / "extractors" / f"inception-{file_sha256(path)[:16]}.pth"
    kept.parent.mkdir()
    kept.write_bytes(path.read_bytes())
    return path
