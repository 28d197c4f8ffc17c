"""Protocols as rows: made by presets, addressed by fingerprint, immutable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.db.models import ProtectedError
from pytest_django.fixtures import Settings

from catalog import services
from catalog.models import Dataset, FrozenError, Protocol
from catalog.preparation import prepare_digits, prepare_path
from catalog.services import RegistrationError, register_dataset, register_protocol
from evaluation.protocol import ProtocolError
from evaluation.specs import INCEPTION_2015_SHA256
from tests.evaluation.pictures import PNG, make_zip

pytestmark = pytest.mark.django_db


@pytest.fixture
def digits() -> Dataset:
    with prepare_digits() as prepared:
        return register_dataset("Digits", prepared)[0]


@pytest.fixture
def protocol(digits: Dataset, weights: Path) -> Protocol:
    return register_protocol(digits, preset="inception-test", weights=weights)[0]


def test_the_classifier_preset_trains_one_and_finds_it_again(
    digits: Dataset, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    protocol, is_new = register_protocol(digits)
    again, is_again_new = register_protocol(digits, num_images=500)

    assert is_new and not is_again_new
    assert again == protocol
    assert protocol.extractor == "dataset-classifier"
    assert protocol.facts["test_accuracy"] > 0.95
    assert protocol.num_images == 500
    assert protocol.weights_path is not None
    assert protocol.weights_path.is_relative_to(data_dir / "extractors")
    assert protocol.weights_path.is_file()
    assert protocol.metric_label("fd") == "FD[classifier]"
    assert protocol.record["reference"] == {
        "split": "train",
        "digest": digits.train_digest,
        "count": 1297,
    }


def test_inception_weights_are_kept_in_the_data_folder(
    digits: Dataset, weights: Path, data_dir: Path
) -> None:
    protocol, is_new = register_protocol(digits, preset="inception-test", weights=weights)
    weights.unlink()

    assert is_new
    assert protocol.weights_path is not None
    assert protocol.weights_path.read_bytes() == b"not the published ones"
    digest = protocol.record["extractor"]["weights_sha256"]
    assert protocol.weights_path.name == f"inception-{digest[:16]}.pth"
    assert [path.name for path in (data_dir / "extractors").iterdir()] == [
        protocol.weights_path.name
    ]
    assert protocol.facts == {"weights_file": "weights.pth", "known_weights": False}


def test_only_known_weights_are_called_fid(protocol: Protocol) -> None:
    digest = protocol.record["extractor"]["weights_sha256"]

    assert protocol.metric_label("fd") == f"FD[inception-v3-compat@{digest[:8]}]"


def test_the_weights_of_the_settings_are_used(
    digits: Dataset, weights: Path, settings: Settings
) -> None:
    settings.INCEPTION_WEIGHTS = str(weights)

    assert register_protocol(digits, preset="inception-test")[1]


def test_the_number_of_images_makes_another_protocol(
    digits: Dataset, weights: Path, protocol: Protocol
) -> None:
    other, is_new = register_protocol(
        digits, preset="inception-test", num_images=100, weights=weights
    )

    assert is_new
    assert (other.name, other.num_images) == ("inception-test, 100 images", 100)
    differences = protocol.differences(other)
    assert "num images: 500 and 100" in differences
    assert protocol.differences(protocol) == []


def refusal(dataset: Dataset, **options: Any) -> str:
    with pytest.raises(RegistrationError) as caught:
        register_protocol(dataset, **options)
    assert not Protocol.objects.exists()
    return str(caught.value)


def test_an_unknown_preset_is_refused(digits: Dataset) -> None:
    assert refusal(digits, preset="fid") == (
        "expected a preset of classifier-test, inception-test, inception-10k-test; got 'fid'"
    )


def test_inception_without_weights_says_which_file_and_where_to_put_it(
    digits: Dataset, settings: Settings, data_dir: Path
) -> None:
    settings.INCEPTION_WEIGHTS = ""

    message = refusal(digits, preset="inception-test")

    assert "Inception weights are missing and cannot be downloaded" in message
    assert f"at {data_dir / 'extractors' / 'pt_inception-2015-12-05-6726825d.pth'}" in message
    assert f"(sha256 {INCEPTION_2015_SHA256})" in message


def test_a_file_that_holds_no_weights_is_named(digits: Dataset, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"no weights")

    message = refusal(digits, preset="inception-test", weights=garbage)

    assert f"{garbage} holds no weights of inception-v3-compat" in message


def test_a_classifier_takes_no_weights(digits: Dataset, weights: Path) -> None:
    assert refusal(digits, weights=weights) == (
        "a dataset classifier is trained; --weights is for Inception"
    )


def test_more_images_than_the_control_has_are_refused(digits: Dataset, weights: Path) -> None:
    assert refusal(digits, preset="inception-10k-test", weights=weights) == (
        "digits, preset inception-10k-test: num_images: expected at most the 500 images of the "
        "test split, which is scored as the real-vs-real control; got 10000"
    )


def test_an_unlabelled_dataset_has_no_classifier(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", [(f"{i}.png", PNG) for i in range(4)])
    with prepare_path(archive) as prepared:
        dataset = register_dataset("Flat", prepared)[0]

    assert refusal(dataset) == (
        "flat: unlabelled, so it has no classifier; choose an inception preset"
    )


def test_damaged_files_are_not_scored_against(digits: Dataset) -> None:
    digits.train_path.unlink()

    assert refusal(digits) == f"digits: {digits.train_path}: No such file or directory"


def test_an_evaluation_that_fails_shows_its_last_words(digits: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", nothing=np.zeros(1))
    arguments = ["classifier", "--data", str(tmp_path / "x.npz"), "--out", str(tmp_path), "--json"]
    heard: list[str] = []

    with pytest.raises(RegistrationError) as caught:
        services._run_evaluation(arguments, heard.append)

    assert str(caught.value).startswith("python -m evaluation classifier ended with 2: ")
    assert "x.npz: holds no arr_0; expected images as arr_0" in str(caught.value)
    assert heard


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", {"version": 2}),
        ("fingerprint", "0" * 64),
        ("extractor_weights", "elsewhere.pth"),
        ("num_images", 7),
    ],
)
def test_what_decides_a_value_is_frozen(protocol: Protocol, field: str, value: Any) -> None:
    label = protocol.label
    written = Protocol.objects.get()
    setattr(written, field, value)

    with pytest.raises(FrozenError) as caught:
        written.save()

    assert str(caught.value).endswith(
        f": {field} cannot change; results depend on it, register another one instead"
    )
    assert Protocol.objects.get().label == label


def test_a_protocol_may_be_renamed(protocol: Protocol) -> None:
    protocol.name = "Our protocol"
    protocol.save()

    assert str(Protocol.objects.get()) == f"Our protocol ({protocol.fingerprint[:12]})"


def test_a_fingerprint_must_be_that_of_the_record(protocol: Protocol) -> None:
    with pytest.raises(ProtocolError) as caught:
        Protocol.objects.create(
            dataset=protocol.dataset, record=protocol.record, fingerprint="0" * 64, num_images=500
        )

    assert str(caught.value) == "fingerprint: expected that of the record"


def test_a_dataset_with_protocols_stays(protocol: Protocol) -> None:
    with pytest.raises(ProtectedError):
        protocol.dataset.delete()
