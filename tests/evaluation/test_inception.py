"""Inception: the real network with random weights, and what happens without weights."""

import hashlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from evaluation.__main__ import main
from evaluation.extractors.base import ExtractorError, extract, file_sha256
from evaluation.extractors.inception import FILE_NAME, URL, InceptionExtractor, find_weights
from evaluation.specs import INCEPTION_2015_SHA256, metric_label
from tests.evaluation.factories import make_images
from tests.inception import write_random_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp("inception"))


@pytest.fixture(scope="module")
def extractor(weights: Path) -> InceptionExtractor:
    return InceptionExtractor(weights)


def test_features_are_those_of_the_network_in_the_file(
    weights: Path, extractor: InceptionExtractor
) -> None:
    images = make_images(2, channels=3, side=32)
    theirs = FeatureExtractorInceptionV3(
        "any", ["2048", "logits_unbiased"], feature_extractor_weights_path=weights
    )

    found = extract(extractor, images, batch_size=2)

    features, logits = theirs(torch.from_numpy(images))
    torch.testing.assert_close(found.features, features)
    torch.testing.assert_close(found.logits, logits)
    assert found.features.shape == (2, 2048)
    assert found.logits is not None and found.logits.shape == (2, 1008)


def test_grey_images_are_replicated_and_batches_do_not_matter(
    extractor: InceptionExtractor,
) -> None:
    grey = make_images(3)

    whole = extract(extractor, grey, batch_size=3).features
    replicated = extract(extractor, np.repeat(grey, 3, axis=1), batch_size=2).features

    torch.testing.assert_close(whole, replicated, rtol=1e-4, atol=1e-5)


def test_unknown_weights_can_be_used_but_are_not_called_fid(
    weights: Path, extractor: InceptionExtractor
) -> None:
    digest = file_sha256(weights)

    assert extractor.weights_sha256 == digest
    label = metric_label("fd", extractor.name, extractor.weights_sha256)
    assert label == f"FD[inception-v3-compat@{digest[:8]}]"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError) as caught:
        InceptionExtractor(tmp_path / "none.pth")

    assert str(caught.value) == f"Inception weights not found: {tmp_path / 'none.pth'}"


class RunsCode:
    """Something whose unpickling would run code."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.mkdir, (Path("was-run"),)  # type: ignore[return-value]  # never unpickled


def test_a_file_that_would_run_code_is_refused_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": RunsCode()}, "hostile.pth")

    with pytest.raises(ExtractorError, match=r"^hostile\.pth holds no weights of inception-v3-co"):
        InceptionExtractor(Path("hostile.pth"))

    assert not Path("was-run").exists()


@pytest.mark.parametrize("kind", ["text", "other network", "list"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other.pth"
    contents: dict[str, dict[str, Tensor] | list[int]] = {
        "other network": nn.Linear(2, 2).state_dict(),
        "list": [1, 2],
    }
    if kind == "text":
        path.write_text("<html>not found</html>")
    else:
        torch.save(contents[kind], path)

    with pytest.raises(
        ExtractorError, match=r"other\.pth holds no weights of inception-v3-compat: "
    ):
        InceptionExtractor(path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder "served" on this machine; return its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    (tmp_path / "served").mkdir()
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_checked(tmp_path: Path, server: str) -> None:
    content = b"weights" * 1000
    served = tmp_path / "served" / "w.pth"
    served.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()

    path = find_weights(tmp_path / "cache", url=f"{server}/w.pth", sha256=digest, name="w.pth")
    served.unlink()
    again = find_weights(tmp_path / "cache", url=f"{server}/w.pth", sha256=digest, name="w.pth")

    assert path == again == tmp_path / "cache" / "w.pth"
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_download_of_another_file_is_refused_and_not_kept(tmp_path: Path, server: str) -> None:
    (tmp_path / "served" / "w.pth").write_bytes(b"something else")
    url, cache = f"{server}/w.pth", tmp_path / "cache"

    with pytest.raises(ExtractorError) as caught:
        find_weights(cache, url=url, sha256="0" * 64, name="w.pth")

    assert str(caught.value) == (
        "Inception weights are missing and cannot be downloaded "
        f"({url} offers a file of sha256 {hashlib.sha256(b'something else').hexdigest()}). "
        f"Put the file w.pth (sha256 {'0' * 64}) at {cache / 'w.pth'}, "
        f"or name the file with --weights. It is published at {url}"
    )
    assert list(cache.iterdir()) == []


def test_without_a_network_the_error_says_which_file_goes_where(
    tmp_path: Path, server: str
) -> None:
    with pytest.raises(ExtractorError) as caught:
        find_weights(tmp_path, url=f"{server}/nothing-there")

    message = str(caught.value)
    assert "cannot be downloaded (HTTP Error 404: File not found)" in message
    assert f"Put the file {FILE_NAME} (sha256 {INCEPTION_2015_SHA256}) at" in message
    assert str(tmp_path / FILE_NAME) in message


def test_a_damaged_file_in_the_cache_is_never_used(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"half of it")

    with pytest.raises(ExtractorError) as caught:
        find_weights(tmp_path)

    assert str(caught.value) == (
        f"{tmp_path / FILE_NAME} is damaged: expected sha256 {INCEPTION_2015_SHA256}, "
        f"got {hashlib.sha256(b'half of it').hexdigest()}"
    )


def test_the_address_ends_with_the_name_of_the_file() -> None:
    assert URL.endswith(f"/{FILE_NAME}")


def test_the_command_checks_a_file_and_keeps_it_under_its_digest(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        ["inception", "--weights", str(weights), "--out", str(tmp_path / "out"), "--json"]
    )

    record = json.loads(capsys.readouterr().out)
    digest = file_sha256(weights)
    kept = tmp_path / "out" / f"inception-{digest[:16]}.pth"
    assert status == 0
    assert record == {"weights": str(kept), "weights_sha256": digest, "known_weights": False}
    assert list(kept.parent.iterdir()) == [kept]
    assert kept.read_bytes() == weights.read_bytes()
