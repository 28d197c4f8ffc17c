"""Writes arrays as `.npz`, in the same bytes whatever Python writes them."""

import struct
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

ZIP64 = 45  # the version of the format that a reader must know
VERSION_AT, SIZES_AT = 4, 18  # in a member's header, in bytes: two of each
IN_EXTRA = 0xFFFFFFFF  # a size is in the extra field


def write_zip(file: IO[bytes], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name, uncompressed, as `numpy.savez` does on Python 3.11.4 and later.

    Raises:
        ValueError: if an array holds Python objects.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(LongMember(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


class LongMember(zipfile.ZipInfo):
    """A member with long sizes in its header, whatever they are.

    Python before 3.11.4 makes room for them, but writes the header of a short one: equal arrays
    made files with other digests there.
    """

    __slots__ = ()

    def FileHeader(self, zip64: bool | None = None) -> bytes:  # noqa: N802  # zipfile calls it
        """Return the header in front of the member."""
        header = bytearray(super().FileHeader(zip64=True))
        self.extract_version = max(self.extract_version, ZIP64)  # the list at the end has these
        self.create_version = max(self.create_version, ZIP64)
        header[VERSION_AT] = self.extract_version
        struct.pack_into("<LL", header, SIZES_AT, IN_EXTRA, IN_EXTRA)
        return bytes(header)
