"""Pipelines of the hub: pinned, looked for here first; downloads come from a hub of this test's own."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from generators.pipelines.hub import find_pipeline
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.pinned import local_folder
from generators.specs.pipelines.reading import inspect
from tests.generators.conftest import exactly
from tests.generators.pipelines.conftest import Copy

REVISION, OTHER = "1234567890" * 4, "0987654321" * 4


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: what a revision's files are, and each of them."""

    folder: Path
    commit = REVISION
    asked: list[str]

    def do_GET(self) -> None:
        place = self.path.partition("?")[0]
        self.asked.append(place)
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        if place.startswith("/api/models/us/tiny/revision/"):
            names = [{"rfilename": path.relative_to(self.folder).as_posix()} for path in files]
            self.answer(
                json.dumps({"id": "us/tiny", "sha": self.commit, "siblings": names}).encode()
            )
        elif place.startswith("/api/models/us/tiny/tree/"):
            rows = [
                {
                    "type": "file",
                    "path": path.relative_to(self.folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": hashlib.sha256(path.read_bytes()).hexdigest()[:40],
                }
                for path in files
            ]
            self.answer(json.dumps(rows).encode())
        elif place.startswith("/us/tiny/resolve/"):
            self.answer((self.folder / place.split("/", 5)[5]).read_bytes())
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815  # its name

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()[:40]}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the hub an empty cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    point_at("http://127.0.0.1:9", monkeypatch)
    at_once = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", at_once)  # it tries six times
    return tmp_path / "cache"


@pytest.fixture
def hub(copied: Copy, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Serve a tiny pipeline as us/tiny."""
    kind = type("ThisHub", (Hub,), {"folder": copied("ddpm"), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    point_at(f"http://127.0.0.1:{server.server_port}", monkeypatch)
    yield kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_local_path_comes_first(copied: Copy, tmp_path: Path) -> None:
    place = local_folder("us/tiny", REVISION, tmp_path / "storage")
    place.parent.mkdir(parents=True)
    copied("ddpm").rename(place)

    assert find_pipeline("us/tiny", REVISION, storage=tmp_path / "storage") == place


@pytest.mark.parametrize("revision", [None, "main", "12345678", REVISION.upper().replace("1", "G")])
def test_a_revision_that_can_move_is_refused(revision: str | None) -> None:
    message = (
        "us/tiny: expected a revision of 40 hex digits, since branches and tags move; got "
        f"{revision!r}"
    )
    with pytest.raises(PipelineError, match=exactly(message)):
        find_pipeline("us/tiny", revision)


def test_what_is_no_name_of_the_hub_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"^expected a hub id such as owner/name, got '\.\./x/"):
        find_pipeline("../x/y", REVISION)


@pytest.mark.parametrize("download", [False, True])
def test_what_cannot_be_had_is_said_with_the_place_to_put_it(
    download: bool, tmp_path: Path
) -> None:
    with pytest.raises(PipelineError) as caught:
        find_pipeline("us/tiny", REVISION, storage=tmp_path, download=download)

    message = str(caught.value)
    assert message.startswith(f"us/tiny at {REVISION}: neither here nor to be had from the hub (")
    place = tmp_path / "us--tiny" / REVISION
    assert message.endswith(
        f"; put its files into {place}: model_index.json, and each component's folder with "
        "safetensors"
    )


def test_a_pinned_revision_is_downloaded_once_without_pickles(
    hub: type[Hub], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hub.folder / "unet" / "old.bin").write_bytes(b"a pickle")
    (hub.folder / "mine.py").write_text("code")

    found = find_pipeline("us/tiny", REVISION)

    assert found.name == REVISION and found.is_relative_to(cache)
    card = inspect(found)
    assert card.problems == () and card.pipeline == "DDPMPipeline"
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]
    hub.asked.clear()
    assert find_pipeline("us/tiny", REVISION, download=False) == found
    assert hub.asked == []
    point_at("http://127.0.0.1:9", monkeypatch)  # where nobody answers
    assert find_pipeline("us/tiny", REVISION, most_bytes=1) == found


def test_a_download_tells_how_far_it_is_and_may_be_ended(hub: type[Hub]) -> None:
    size = sum(path.stat().st_size for path in hub.folder.rglob("*") if path.is_file())
    told: list[tuple[int, int]] = []

    def end(here: int, whole: int) -> None:
        raise KeyError("ended")

    with pytest.raises(KeyError):
        find_pipeline("us/tiny", REVISION, on_bytes=end)
    find_pipeline("us/tiny", REVISION, most_bytes=size, on_bytes=lambda *it: told.append(it))

    assert [here for here, _ in told] == sorted(here for here, _ in told)
    assert told[-1][0] <= size and told[-1][0] > 0


def test_what_is_too_large_for_the_limit_or_the_disk_is_not_downloaded(
    hub: type[Hub], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    size = sum(path.stat().st_size for path in hub.folder.rglob("*") if path.is_file())

    message = f"us/tiny: expected at most 1,000 bytes to download, its files have {size:,}"
    with pytest.raises(PipelineError, match=exactly(message)):
        find_pipeline("us/tiny", REVISION, most_bytes=1000)
    usage = SimpleNamespace(free=10)
    monkeypatch.setattr("generators.pipelines.hub.shutil.disk_usage", lambda place: usage)
    message = f"us/tiny: expected {size:,} bytes of free disk for its files, there are 10"
    with pytest.raises(PipelineError, match=exactly(message)):
        find_pipeline("us/tiny", REVISION)

    assert not list(cache.rglob("*.safetensors"))


def test_a_hub_that_gives_another_revision_is_refused(hub: type[Hub]) -> None:
    hub.commit = OTHER

    message = f"us/tiny: expected revision {REVISION}, the hub gave another"
    with pytest.raises(PipelineError, match=exactly(message)):
        find_pipeline("us/tiny", REVISION)
