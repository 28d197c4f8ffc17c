"""Static files with their content's hash in the name, kept by browsers for a year, and compressed.

Nothing has to be collected: a file is hashed when a page names it, and written with its compressed
forms below STATIC_ROOT when a browser first asks for it.
"""

import functools
import gzip
import hashlib
import logging
import posixpath
import re
import secrets
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

try:
    import brotli
except ImportError:  # then gzip alone
    brotli = None

logger = logging.getLogger(__name__)

HASHED = re.compile(r"(?P<stem>.+)\.(?P<digest>[0-9a-f]{12})(?P<suffix>\.\w+)")
OURS = "web/"  # whose files may name others
NAMED = {  # by the kind of the file that names them
    ".js": re.compile(rb'(?<=from ")\./[\w.-]+(?=")'),
    ".css": re.compile(rb'(?<=url\(")[\w./-]+(?="\))'),
}
SMALLEST = 1_000  # bytes of a file that is worth compressing
QUALITY = 5  # of brotli: half a second for plotly, 14 % larger than the 24 seconds of quality 10


class HashedStaticFilesStorage(StaticFilesStorage):
    """Files at STATIC_URL under the prefix of the request; Django keeps that of the first one."""

    def url(self, name: str | None) -> str:
        known = hashed_name(name) if name and not settings.DEBUG else name
        return get_script_prefix().removesuffix("/") + super().url(known)


@functools.lru_cache(maxsize=1_000)  # bounded: strangers ask for names, too
def hashed_name(name: str) -> str:
    """Return a file's name with its content's hash; what is no file keeps its name."""
    content = read(name)
    if content is None:
        return name
    digest = hashlib.sha256(content).hexdigest()[:12]
    stem, suffix = posixpath.splitext(name)
    return f"{stem}.{digest}{suffix}"


def read(name: str) -> bytes | None:
    """Return a file's content, which names other files of ours by their hashed names."""
    found = finders.find(name)
    if not isinstance(found, str) or not Path(found).is_file():
        return None
    content = Path(found).read_bytes()
    named = NAMED.get(posixpath.splitext(name)[1])
    if named is None or not name.startswith(OURS):
        return content
    folder = posixpath.dirname(name)
    return named.sub(lambda match: _hashed_beside(folder, match[0].decode()).encode(), content)


def _hashed_beside(folder: str, target: str) -> str:
    name = posixpath.normpath(posixpath.join(folder, target))
    hashed = posixpath.basename(hashed_name(name))
    return posixpath.join(posixpath.dirname(target), hashed)


class HashedFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # without types
    """WhiteNoise, which also has every file under its hashed name."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        url = request.path_info
        if not self.autorefresh and url not in self.files and (file := self.hashed(url)):
            self.files[url] = file
        answer: HttpResponseBase = super().__call__(request)
        return answer

    def find_file(self, url: str) -> StaticFile | None:
        return super().find_file(url) or self.hashed(url)

    def immutable_file_test(self, path: str, url: str) -> bool:
        return HASHED.fullmatch(url) is not None

    def hashed(self, url: str) -> StaticFile | None:
        """Return the file of a hashed name, written if it was not there, if there is one."""
        match = HASHED.fullmatch(url.removeprefix(self.static_prefix))
        is_here = url.startswith(self.static_prefix) and self.url_is_canonical(url)
        if not match or not is_here:
            return None
        name = f"{match['stem']}{match['suffix']}"
        if hashed_name(name) != match[0]:  # of another version of the site, or nobody's
            return None
        path = Path(settings.STATIC_ROOT) / match[0]
        try:
            write(name, path)
        except OSError as error:
            logger.warning("%s: %s; sent uncompressed", match[0], error)
            path = Path(str(finders.find(name)))
        file: StaticFile = self.get_static_file(str(path), url)
        return file


def write(name: str, path: Path) -> None:
    """Write a file and its compressed forms, each as a whole, the file itself last."""
    content = read(name)
    if content is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    forms: dict[str, Any] = {"": content}
    if len(content) >= SMALLEST and Compressor().should_compress(name):
        forms[".gz"] = gzip.compress(content, 9, mtime=0)
        if brotli:
            forms[".br"] = brotli.compress(content, quality=QUALITY)
    for suffix, data in sorted(forms.items(), reverse=True):
        if suffix and len(data) >= len(content):
            continue
        temporary = path.with_name(f"{path.name}{suffix}.{secrets.token_hex(4)}")
        temporary.write_bytes(data)
        temporary.replace(f"{path}{suffix}")
