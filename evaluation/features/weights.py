"""Weights files: found or downloaded with a known digest, and read without running code."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

import torch
from torch import Tensor

from evaluation.features.base import ExtractorError
from evaluation.imagesets.atomic import replacing, sha256_of

TIMEOUT_SECONDS = 30

Built = TypeVar("Built")


@dataclass(frozen=True)
class PublishedWeights:
    """A weights file as its authors published it, known by its content."""

    owner: str  # the network it belongs to, for people
    name: str  # of the file
    url: str
    sha256: str
    max_bytes: int

    def find(self, cache: Path) -> Path:
        """Return the file in the folder ``cache``, downloaded once if it is not there.

        Raises:
            ExtractorError: if there is no such file and none can be downloaded, or the digest is
                wrong; it names the file, its sha256 and where to put it.
        """
        path = cache / self.name
        if path.is_file():
            found = sha256_of(path)
            if found != self.sha256:
                raise ExtractorError(
                    f"{path} is damaged: expected sha256 {self.sha256}, got {found}"
                )
            return path
        try:
            self._download(path)
        except (OSError, HTTPException, ExtractorError) as error:
            if isinstance(error, HTTPError):
                error.close()  # it holds the connection
            raise ExtractorError(
                f"{self.owner} weights are missing and cannot be downloaded ({error}). "
                f"Put the file {self.name} (sha256 {self.sha256}) at {path}, "
                f"or name the file with --weights. It is published at {self.url}"
            ) from error
        return path

    def _download(self, path: Path) -> None:
        """Write what the address offers to ``path``: all of it with the right digest, or nothing."""
        digest, size = hashlib.sha256(), 0
        with (
            urlopen(self.url, timeout=TIMEOUT_SECONDS) as response,  # noqa: S310 - our own URL
            replacing(path) as file,
        ):
            while chunk := response.read(2**20):
                size += len(chunk)
                if size > self.max_bytes:
                    raise ExtractorError(f"{self.url} offers more than {self.max_bytes} bytes")
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != self.sha256:
                raise ExtractorError(f"{self.url} offers a file of sha256 {digest.hexdigest()}")


def build_from_file(
    weights: Path, build: Callable[[dict[str, Tensor]], Built], *, name: str
) -> Built:
    """Return what ``build`` makes of the tensors in a weights file, which may come from anybody.

    Raises:
        ExtractorError: if the file holds anything but tensors, or not those of the network ``name``.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        return build(dict(state.items()))
    except Exception as error:  # torch raises half a dozen types for half a dozen kinds of damage
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExtractorError(f"{weights} holds no weights of {name}: {first_line}") from error
