"""Archives of arrays have the same bytes on every Python: their sha256 are what is compared."""

import io
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.imagesets.writing import write_zip

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "arr_0": np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3),
    "labels": np.array([1, 0], np.int64),
    "captions": np.array(["a red fish", "ein Bär"]),
}
FROZEN = "68f1d5e1ab4b5ddaf22c137b127898aef052fe29dcaf1bba84e41a913987b75b"
ROOT = Path(__file__).parents[3]
AS_HERE = """
import sys
sys.path += sys.argv[1:]
from tests.evaluation.imagesets.test_npz import sha256, written
print(sha256(written()).hexdigest())
"""


def written() -> bytes:
    file = io.BytesIO()
    write_zip(file, ARRAYS)
    return file.getvalue()


def header_of_old_python(member: zipfile.ZipInfo, zip64: bool | None = None) -> bytes:
    """Return what Python 3.11.0 to 3.11.3 writes: room for long sizes beside those of a short one."""
    sizes = member.file_size.to_bytes(8, "little") + member.compress_size.to_bytes(8, "little")
    extra = b"\x01\x00\x10\x00" + sizes
    name = member.filename.encode()
    short = [member.CRC, member.compress_size, member.file_size]
    fixed = b"PK\x03\x04" + bytes([20, 0, 0, 0, 0, 0, 0, 0, 33, 0])
    numbers = b"".join(number.to_bytes(4, "little") for number in short)
    lengths = len(name).to_bytes(2, "little") + len(extra).to_bytes(2, "little")
    return fixed + numbers + lengths + name + extra


def test_the_bytes_are_frozen() -> None:
    assert sha256(written()).hexdigest() == FROZEN


def test_the_bytes_are_the_same_where_python_writes_other_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zipfile.ZipInfo, "FileHeader", header_of_old_python)
    plain = io.BytesIO()
    np.savez(plain, **ARRAYS)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle there

    assert sha256(plain.getvalue()).hexdigest() != FROZEN
    assert sha256(written()).hexdigest() == FROZEN


@pytest.mark.skipif(sys.version_info < (3, 11, 4), reason="numpy writes other headers here")
def test_the_bytes_are_those_of_numpy() -> None:
    plain = io.BytesIO()
    np.savez(plain, **ARRAYS)  # type: ignore[arg-type]  # numpy's stub takes allow_pickle there

    assert written() == plain.getvalue()


def test_another_patch_of_this_python_writes_the_same_bytes() -> None:
    """The system's Python, where it can load what is installed for ours."""
    other = shutil.which("python3.11", path="/usr/bin:/usr/local/bin")
    if other is None or sys.version_info[:2] != (3, 11):
        pytest.skip("needs another Python 3.11")
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]

    told = subprocess.run(
        [other, "-c", AS_HERE, *paths], capture_output=True, text=True, check=True
    )

    assert told.stdout.strip() == FROZEN


def test_the_archive_is_read_by_numpy_and_by_zipfile() -> None:
    content = io.BytesIO(written())

    with np.load(content) as found:
        assert {name: found[name].tolist() for name in found.files} == {
            name: array.tolist() for name, array in ARRAYS.items()
        }
    with zipfile.ZipFile(content) as archive:
        assert archive.testzip() is None
        assert {info.extract_version for info in archive.infolist()} == {45}


def test_python_objects_are_refused() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        write_zip(io.BytesIO(), {"arr_0": np.array([{}], dtype=object)})
