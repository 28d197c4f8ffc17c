"""The commands `lint` and `pack`, and protocols that come from a site."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evaluation.__main__ import main
from evaluation.commands.addresses import in_api
from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.opening import open_images
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.manifests import TEXTS
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import Protocol
from tests.evaluation.pictures import GREY, PNG, encode, make_folder

FINGERPRINT = "0123456789abcdef" * 4
PROMPTS = PromptSet.from_record(
    {"version": 1, "prompts": [{"id": t, "text": t, "group": "all"} for t in ("one", "two")]}
)


def protocol(*, prompts: PromptSet | None = None, num_images: int = 2) -> Protocol:
    """Return one of colour images of 4x4."""
    facts = DatasetFacts(
        slug="x", resolution=4, channels=3, splits={"train": SplitFacts("a" * 64, 10)}
    )
    return build_protocol(
        facts,
        extractor="pixels-pca64",
        weights_sha256="b" * 64,
        recipe={},
        dim=48,
        metrics=["fd"],
        num_images=num_images,
        prompts=prompts,
    )


def written(place: Path, record: Any) -> str:
    path = place / "protocol.json"
    path.write_text(json.dumps(record), "utf-8")
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"file_name": "b.png", "text": "one"}, {"file_name": "a.png", "text": "two"}]
    metadata = "\n".join(map(json.dumps, rows)).encode()
    other = encode(kind="PNG", size=(4, 4), compress_level=1)
    return make_folder(tmp_path / "set", {"a.png": PNG, "b.png": other, "metadata.jsonl": metadata})


def test_a_packed_folder_is_read_as_the_folder_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.zip"

    assert main(["pack", str(folder), str(out)]) == 0

    packed, loose = open_images(out), open_images(folder)
    assert packed.digest() == loose.digest()
    assert packed.captions == loose.captions == ("two", "one")
    manifest = yaml.safe_load((tmp_path / "out.yaml").read_text())
    assert set(manifest) == {*TEXTS, "costs"}


def test_packing_twice_makes_the_same_file_and_leaves_what_was_filled_in(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("1.zip", "2.zip"):
        (tmp_path / name).with_suffix(".yaml").write_text("system: mine")
        assert main(["pack", str(folder), str(tmp_path / name)]) == 0

    assert sha256_of(tmp_path / "1.zip") == sha256_of(tmp_path / "2.zip")
    assert (tmp_path / "1.yaml").read_text() == "system: mine"


def test_images_of_other_sizes_are_packed_in_one_and_the_manifest_says_so(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "a.png").write_bytes(encode(size=(12, 9)))
    (folder / "b.png").rename(folder / "b.webp")
    (folder / "b.webp").write_bytes(encode(kind="WEBP", size=(4, 6), lossless=True))
    rows = [{"file_name": "b.webp", "text": "one"}, {"file_name": "a.png", "text": "two"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = written(tmp_path, {"protocol": protocol().to_record()})
    arguments = ["pack", str(folder), str(tmp_path / "out.zip"), "--protocol", source]
    assert main(arguments) == 2

    assert main([*arguments, "--resolution", "4"]) == 0

    whole = [open_images(folder, resolution=4), open_images(tmp_path / "out.zip")]
    fitted, packed = (np.concatenate(list(each.chunks())) for each in whole)
    assert packed.shape == (2, 3, 4, 4) and (packed == fitted).all()
    assert whole[1].captions == whole[0].captions == ("two", "one")
    manifest = yaml.safe_load((tmp_path / "out.yaml").read_text())
    rule = "centre crop to a square, then PIL Lanczos (antialiased) in 8 bits"
    assert manifest["post_processing"] == f"made 4x4: {rule}"
    assert manifest["licence"] is None


def test_what_lossy_files_lost_is_not_hidden_by_a_new_size(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "manifest.yaml").write_text("system: x")
    arguments = ["pack", str(folder), str(tmp_path / "out.zip"), "--resolution", "4"]

    assert main(arguments) == 0
    assert "say in the manifest: post_processing: made 4x4" in capsys.readouterr().err
    (folder / "a.png").rename(folder / "a.jpg")
    (folder / "a.jpg").write_bytes(encode(kind="JPEG"))
    (folder / "metadata.jsonl").unlink()
    assert main(arguments) == 2

    assert "a.jpg: a lossy JPEG image" in capsys.readouterr().err


def test_a_manifest_in_the_folder_is_packed_and_is_no_finding(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "manifest.yaml").write_text("system: mine")

    assert main(["pack", str(folder), str(tmp_path / "out.zip")]) == 0

    assert not (tmp_path / "out.yaml").exists()
    assert "manifest.yaml" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "out", "reason"),
    [
        ("none", "out.zip", "expected a folder and FILE.zip"),
        ("set", "out.tar", "expected a folder and FILE.zip"),
        ("arrays", "out.zip", "train.npz: a file of many images; hand it in as it is"),
        ("mixed", "out.zip", "grey where"),
    ],
)
def test_what_cannot_be_packed_is_refused_and_nothing_is_written(
    images: str,
    out: str,
    reason: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_folder(tmp_path / "arrays", {"train.npz": b""})
    make_folder(tmp_path / "mixed", {"a.png": PNG, "b.png": GREY})
    before = sorted(tmp_path.iterdir())

    assert main(["pack", str(tmp_path / images), str(tmp_path / out)]) == 2

    assert reason in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_lint_tells_what_is_odd_and_refuses_what_cannot_be_scored(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = written(tmp_path, protocol().to_record())
    make_folder(folder, {"c.png": PNG, "metadata.jsonl": b""})

    assert main(["lint", str(folder), "--protocol", fit, "--json", str(tmp_path / "x.json")]) == 0
    told = json.loads((tmp_path / "x.json").read_text())
    assert told["count"] == 3
    assert any(
        "2 of 3 images are exact copies of earlier ones" in each for each in told["findings"]
    )
    assert any(
        "3 images, of which a seeded choice of 2 is scored" in each for each in told["findings"]
    )

    few = written(tmp_path, protocol(num_images=4).to_record())
    assert main(["lint", str(folder), "--protocol", few]) == 2
    assert "expected at least 4 generated images, got 3" in capsys.readouterr().err


def test_prompts_of_a_sites_answer_are_those_that_images_are_matched_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = protocol(prompts=PROMPTS)
    answer = {"fingerprint": asking.fingerprint(), "record": asking.to_record()}
    answer |= {"prompts": PROMPTS.to_record(), "prompt_set": "x"}

    assert main(["lint", str(folder), "--protocol", written(tmp_path, answer)]) == 0

    (folder / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "text": "one"}\n{"file_name": "b.png", "text": "one"}\n'
    )
    assert main(["lint", str(folder), "--protocol", written(tmp_path, answer)]) == 2
    assert "'one' has 2 of 1 images; 'two' has 0 of 1 images" in capsys.readouterr().err


# --- Protocols of a site ------------------------------------------------------------------------


@contextmanager
def served(answers: dict[str, bytes]) -> Iterator[str]:
    """Yield the address of a server that has these answers and no others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", ["api/protocols/{}/", "protocols/{}/", "leaderboards/{}/"])
def test_a_protocol_is_read_from_a_sites_address(page: str, folder: Path) -> None:
    made = protocol()
    answer = {"fingerprint": made.fingerprint(), "record": made.to_record(), "prompts": None}
    paths = {f"/api/protocols/{made.fingerprint()}/": json.dumps(answer).encode()}

    with served(paths) as site:
        status = main(
            ["lint", str(folder), "--protocol", f"{site}/{page.format(made.fingerprint())}"]
        )

    assert status == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "no answer: HTTP Error 404"),
        (b"<html>", "is not JSON"),
        (b"[]", "holds no protocol: record: expected an object"),
        (b'{"fingerprint": "x", "record": {}}', "holds no protocol: "),
    ],
)
def test_an_address_without_a_protocol_is_refused(
    body: bytes | None, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"/api/protocols/{FINGERPRINT}/"

    with served({} if body is None else {path: body}) as site:
        assert main(["lint", str(folder), "--protocol", site + path]) == 2

    assert reason in capsys.readouterr().err


def test_a_site_that_is_not_there_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(folder), "--protocol", "http://127.0.0.1:9/x"]) == 2
    assert "http://127.0.0.1:9/x: no answer: " in capsys.readouterr().err


def test_a_fingerprint_that_is_not_the_records_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"fingerprint": FINGERPRINT, "record": protocol().to_record()}

    assert main(["lint", str(folder), "--protocol", written(tmp_path, answer)]) == 2

    assert f"it says {FINGERPRINT}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (f"https://x.org/protocols/{FINGERPRINT}/", f"https://x.org/api/protocols/{FINGERPRINT}/"),
        (f"https://x.org/a/protocols/{FINGERPRINT}", f"https://x.org/a/api/protocols/{FINGERPRINT}/"),
        (f"http://x/leaderboards/{FINGERPRINT}/?sort=fd#top", f"http://x/api/protocols/{FINGERPRINT}/"),
        (f"http://x/api/leaderboards/{FINGERPRINT}/", f"http://x/api/protocols/{FINGERPRINT}/"),
        (f"http://x/api/protocols/{FINGERPRINT}/", f"http://x/api/protocols/{FINGERPRINT}/"),
        (f"http://x/a/api/v1/leaderboards/{FINGERPRINT}/", f"http://x/a/api/protocols/{FINGERPRINT}/"),
        ("https://x.org/my/protocol.json", "https://x.org/my/protocol.json"),
    ],
)  # fmt: skip
def test_a_page_stands_for_its_protocol(address: str, found: str) -> None:
    assert in_api(address) == found
