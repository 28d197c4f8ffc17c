"""Kill -9 of the web server in the middle of an upload: it goes on, no byte is lost, none is there twice."""

import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import wait_until
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")
SIZE = 8 * 2**20
KILLS = 2
PIECE = 2**21


@pytest.fixture
def site(migrated_data: Path, tmp_path: Path) -> Iterator[Site]:
    with closing(Site(Path(shutil.copytree(migrated_data, tmp_path / "site")))) as site:
        yield site


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    found = random.Random(0).randbytes(SIZE)  # noqa: S311  # bytes that compress to nothing less
    (tmp_path / "s.zip").write_bytes(found)
    return found


def headers(token: str, **more: object) -> dict[str, str]:
    said = {name.replace("_", "-"): str(value) for name, value in more.items()}
    return {"Authorization": f"Token {token}", "Tus-Resumable": "1.0.0", **said}


def on_disk(site: Site) -> bytes:
    """Return what is here of the one upload."""
    return b"".join(path.read_bytes() for path in (site.data / "uploads").glob("*"))


def begin(site: Site, token: str) -> str:
    said = headers(token, Upload_Length=SIZE, Upload_Metadata="filename cy56aXA=")
    answer = requests.post(f"{site.address}/api/uploads/", headers=said, timeout=60)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def offset(url: str, token: str) -> int:
    return int(requests.head(url, headers=headers(token), timeout=60).headers["Upload-Offset"])


def send_half_and_be_cut(site: Site, url: str, token: str, content: bytes, at: int) -> None:
    """Send a part of what one request announces; then the server is killed."""
    head = headers(
        token,
        Host=f"127.0.0.1:{site.port}",
        Upload_Offset=at,
        Content_Type="application/offset+octet-stream",
        Content_Length=SIZE - at,
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    path = url.removeprefix(site.address)
    with socket.create_connection(("127.0.0.1", site.port)) as connection:
        connection.sendall(f"PATCH {path} HTTP/1.1\r\n{lines}\r\n".encode())
        connection.sendall(content[at : at + SIZE // (KILLS + 2)])
        wait_until(lambda: len(on_disk(site)) > at, seconds=60, what="some of it on the disk")
        site.kill(site.web)


def test_an_upload_goes_on_where_a_killed_server_left_it(site: Site, content: bytes) -> None:
    token = site.make_token()
    site.start_web()
    url = begin(site, token)
    uploaded = [0]

    for _ in range(KILLS):
        send_half_and_be_cut(site, url, token, content, uploaded[-1])
        site.start_web()
        uploaded.append(offset(url, token))
        assert uploaded[-1] == len(on_disk(site)) > uploaded[-2]
    said = headers(
        token, Upload_Offset=uploaded[-1], Content_Type="application/offset+octet-stream"
    )
    answer = requests.patch(url, data=content[uploaded[-1] :], headers=said, timeout=120)

    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(SIZE))
    assert on_disk(site) == content


@pytest.mark.slow
def test_the_kept_client_of_the_protocol_goes_on_as_well(
    site: Site, content: bytes, tmp_path: Path
) -> None:
    client_of: Any = pytest.importorskip(
        "tusclient.client", reason="needs tuspy, of the extra [test]"
    )
    token = site.make_token()
    site.start_web()
    client = client_of.TusClient(f"{site.address}/api/uploads/", headers=headers(token))
    path = str(tmp_path / "s.zip")

    first = client.uploader(path, chunk_size=PIECE, metadata={"filename": "s.zip"})
    first.upload(stop_at=2 * PIECE)
    site.kill(site.web)
    site.start_web()
    again = client.uploader(path, chunk_size=PIECE, url=first.url, upload_checksum=True)
    assert again.offset == 2 * PIECE
    again.upload()

    assert on_disk(site) == content
