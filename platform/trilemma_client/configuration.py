"""Where the site is and who asks: from arguments, the environment, or a file."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trilemma_client.errors import TrilemmaError

KNOWN = {"url", "token"}


@dataclass(frozen=True)
class Configuration:
    """The address of a site, and a token where one is known: reading may do without."""

    url: str
    token: str | None = None


def configuration(url: str | None = None, token: str | None = None) -> Configuration:
    """Return what is given; else TRILEMMA_URL and TRILEMMA_TOKEN; else what the file says.

    The file is TRILEMMA_CONFIG, by default `trilemma/client.toml` below XDG_CONFIG_HOME or
    `~/.config`: two lines, `url = "https://…"` and `token = "…"`. A token from there is for the
    address that is there, and is sent to no other one.

    Raises:
        TrilemmaError: if there is no address, or the file cannot be understood.
    """
    said = _said()
    found = url or os.environ.get("TRILEMMA_URL") or said.get("url")
    if not found:
        raise TrilemmaError(f"expected url=, TRILEMMA_URL or {_path()} to say where the site is")
    if urlsplit(found).scheme not in ("http", "https"):
        raise TrilemmaError(f"expected an address as https://example.org, got {found!r}")
    kept = said.get("token") if _bare(found) == _bare(said.get("url", found)) else None
    return Configuration(_bare(found), token or os.environ.get("TRILEMMA_TOKEN") or kept)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/api/v1").rstrip("/")


def _path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("TRILEMMA_CONFIG") or Path(folder) / "trilemma" / "client.toml")


def _said() -> dict[str, str]:
    """Return what the file says, nothing where there is none."""
    path = _path()
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if "TRILEMMA_CONFIG" in os.environ:
            raise TrilemmaError(f"TRILEMMA_CONFIG: there is no {path}") from None
        return {}
    except (OSError, ValueError) as error:
        raise TrilemmaError(f"{path}: {error}") from error
    if set(found) - KNOWN or not all(isinstance(value, str) for value in found.values()):
        raise TrilemmaError(f"{path}: expected url and token as text, got {', '.join(found)}")
    return found
