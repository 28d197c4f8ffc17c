"""Stands in for `subprocess` where Parquet is written: the same work, in this process."""

import io
from typing import IO

from leaderboards.formats import parquet, parquet_writer

PIPE = -1


class Popen:
    """The process that writes; what it is given and what it writes are the same."""

    def __init__(self, command: list[str], *, stdin: int, stdout: IO[bytes]) -> None:
        assert command[1:] == [str(parquet.WRITER)]
        self.stdin = Given(stdout)

    def wait(self) -> int:
        return 0

    def kill(self) -> None:
        pass


class Given(io.BytesIO):
    """What is written to the process; it does its work when that ends."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__()
        self.out = out

    def close(self) -> None:
        if not self.closed:
            parquet_writer.write(self.getvalue().splitlines(), self.out)
            self.out.flush()
        super().close()
