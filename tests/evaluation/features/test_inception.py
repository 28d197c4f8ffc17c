"""Inception: torch-fidelity's values with any weights, and what happens without weights."""

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
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from evaluation.__main__ import main
from evaluation.features.base import ExtractorError, FeatureSet, extract
from evaluation.features.inception import FILE_NAME, URL, InceptionExtractor, find_weights
from evaluation.features.inception_network import Convolution
from evaluation.features.registry import build_extractor
from evaluation.features.resize import resize_bilinear
from evaluation.imagesets.atomic import sha256_of
from evaluation.metrics.inception_score import inception_score_from_logits
from evaluation.protocols.extractor_specs import INCEPTION, INCEPTION_2015_SHA256
from evaluation.protocols.metrics import METRICS, metric_label
from tests.inception import (
    fd,
    load_theirs,
    logits_of,
    make_textures,
    relative_difference,
    their_features,
    write_random_weights,
)

TOLERANCE = 2e-5  # of the largest value; convolutions are summed in another order


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_weights(tmp_path_factory.mktemp("inception"))


@pytest.fixture(scope="module")
def extractor(weights: Path) -> InceptionExtractor:
    return InceptionExtractor(weights)


def test_features_and_logits_are_those_of_torch_fidelity(
    weights: Path, extractor: InceptionExtractor
) -> None:
    theirs = load_theirs(weights)

    for images in (make_textures(7), make_textures(2, side=304)[:, :, :299, :299]):
        found = extract(extractor, images)
        features, logits = their_features(theirs, images)

        assert found.features.shape == (len(images), 2048)
        assert found.logits is not None and found.logits.shape == (len(images), 1008)
        assert relative_difference(found.features, features) < TOLERANCE
        assert relative_difference(found.logits, logits) < TOLERANCE


@pytest.mark.slow
def test_metrics_of_our_features_are_those_of_torch_fidelity_s_features(
    weights: Path, extractor: InceptionExtractor
) -> None:
    sets = [make_textures(6, seed=1), make_textures(6, seed=2) // 2]
    theirs = load_theirs(weights)

    ours = [extract(extractor, images) for images in sets]
    others = [FeatureSet(*their_features(theirs, images)) for images in sets]

    distances = [fd(real.features, fake.features) for real, fake in (ours, others)]
    assert distances[0] > 10
    assert distances[0] == pytest.approx(distances[1], rel=1e-5)
    scores = [inception_score_from_logits(logits_of(fake)).value for _, fake in (ours, others)]
    assert scores[0] is not None and scores[0] > 1.1
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


@pytest.mark.slow
def test_grey_images_are_replicated(extractor: InceptionExtractor) -> None:
    grey = make_textures(3)[:, :1]

    found = extract(extractor, grey)

    replicated = extract(extractor, np.repeat(grey, 3, axis=1))
    assert torch.equal(found.features, replicated.features)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_features_depend_on_the_batch_size_by_rounding_alone(
    extractor: InceptionExtractor, batch_size: int
) -> None:
    images = make_textures(5, seed=3)

    whole = extract(extractor, images)
    pieces = extract(extractor, images, batch_size=batch_size)

    assert relative_difference(pieces.features, whole.features) < TOLERANCE
    assert relative_difference(pieces.logits, whole.logits) < TOLERANCE


@pytest.mark.slow
def test_a_compiled_network_has_the_same_values(
    weights: Path, extractor: InceptionExtractor
) -> None:
    images = make_textures(2)

    # This backend traces the network as every backend does, and generates no code.
    compiled = build_extractor(
        INCEPTION, weights=weights, cache=weights.parent, compile_backend="eager"
    )
    found = extract(compiled, images)

    assert relative_difference(found.features, extract(extractor, images).features) < TOLERANCE


def test_folding_keeps_the_convolution_after_its_normalisation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = Convolution(3, 8, 3)
        assert isinstance(layer.bn, nn.BatchNorm2d)
        for values in (layer.bn.weight, layer.bn.running_var):
            nn.init.uniform_(values, 0.5, 2.0)  # type: ignore[arg-type]  # a tensor
        for values in (layer.bn.bias, layer.bn.running_mean):
            nn.init.normal_(values)  # type: ignore[arg-type]  # a tensor
        x = torch.randn(2, 3, 9, 9)
    layer.eval().requires_grad_(False)
    expected = functional.relu(layer.bn(layer.conv(x)))

    layer.fold()

    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_weights_of_another_precision_or_without_counters_are_read(
    weights: Path, extractor: InceptionExtractor, tmp_path: Path
) -> None:
    state = torch.load(weights, weights_only=True)
    kept = {
        name: value.double() for name, value in state.items() if "num_batches_tracked" not in name
    }
    torch.save(kept, tmp_path / "other.pth")
    images = make_textures(2)

    found = extract(InceptionExtractor(tmp_path / "other.pth"), images)

    assert torch.equal(found.features, extract(extractor, images).features)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    side=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
)
def test_resizing_is_that_of_tensorflow_1_bit_for_bit(
    height: int, width: int, side: int, channels: int
) -> None:
    rng = np.random.default_rng(height * 81 + width)
    images = torch.from_numpy(rng.integers(0, 256, (2, channels, height, width), dtype=np.uint8))

    found = resize_bilinear(images, side)

    expected = interpolate_bilinear_2d_like_tensorflow1x(
        images.float(), size=(side, side), align_corners=False
    )
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_resizing_takes_pixels_at_whole_multiples_without_antialiasing() -> None:
    row = torch.tensor([255, 0, 0, 0], dtype=torch.uint8).repeat(8)
    images = row.expand(1, 1, 32, 32)

    assert torch.equal(resize_bilinear(images, 8), torch.full((1, 1, 8, 8), 255.0))


def test_unknown_weights_can_be_used_but_are_not_called_fid(
    weights: Path, extractor: InceptionExtractor
) -> None:
    digest = sha256_of(weights)

    assert extractor.weights_sha256 == digest
    label = metric_label(METRICS["fd"], extractor.name, extractor.weights_sha256)
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
    digest = sha256_of(weights)
    kept = tmp_path / "out" / f"inception-{digest[:16]}.pth"
    assert status == 0
    assert record == {"weights": str(kept), "weights_sha256": digest, "known_weights": False}
    assert list(kept.parent.iterdir()) == [kept]
    assert kept.read_bytes() == weights.read_bytes()
