"""Protocols as rows: made by presets, addressed by fingerprint, immutable."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import ProtectedError
from pytest_django.fixtures import Settings

from catalog import services
from catalog.admission import RULES, verdict_of
from catalog.models import Dataset, FrozenError, Protocol
from catalog.preparation import prepare_digits, prepare_path
from catalog.services import RegistrationError, Scoring, register_dataset, register_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import INCEPTION_2015_SHA256, PIXELS
from evaluation.protocols.metrics import default_metrics
from evaluation.scoring.admission import VERSION
from tests import factories
from tests.evaluation.pictures import PNG, make_zip

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def digits() -> Dataset:
    with prepare_digits() as prepared:
        return register_dataset("Digits", prepared)[0]


@pytest.fixture
def protocol() -> Protocol:
    return factories.make_protocol(num_images=100)


@pytest.mark.usefixtures("engine_here")
def test_the_classifier_preset_trains_one_and_finds_it_again(
    digits: Dataset, data_dir: Path
) -> None:
    protocol, is_new = register_protocol(digits, admission_images=0)
    again, is_again_new = register_protocol(
        digits, Scoring(preset="classifier-test", num_images=500), admission_images=0
    )

    assert is_new and not is_again_new
    assert again == protocol
    assert protocol.name == "classifier-test"
    assert protocol.extractor == "dataset-classifier"
    assert protocol.facts["test_accuracy"] > 0.95
    assert protocol.num_images == 500
    assert protocol.weights_path is not None
    assert protocol.weights_path.is_relative_to(data_dir / "extractors")
    assert protocol.weights_path.exists()
    assert protocol.metric_label("fd") == "FD[classifier]"
    assert protocol.metrics == list(default_metrics("dataset-classifier", held_out=True))
    record = protocol.record
    assert (record["reference"]["split"], record["reference"]["count"]) == ("train", 1297)
    assert (record["held_out"]["split"], record["held_out"]["count"]) == ("test", 500)
    assert record["dataset"] == "digits"


@pytest.mark.usefixtures("engine_here")
def test_an_extractor_some_metrics_and_a_number_make_a_protocol_of_their_own(
    digits: Dataset,
) -> None:
    scoring = Scoring(extractor=PIXELS, metrics=("recall", "fd"), num_images=10_000)

    protocol, is_new = register_protocol(digits, scoring, admission_images=0)

    assert is_new
    assert protocol.name == "pixels-pca64, recall, fd, 10000 images"
    assert (protocol.metrics, protocol.num_images) == (["fd", "recall"], 10_000)
    assert (protocol.extractor_weights, protocol.weights_path, protocol.facts) == ("", None, {})


def refusal(dataset: Dataset, scoring: Scoring | None = None) -> str:
    with pytest.raises(RegistrationError) as caught:
        register_protocol(dataset, scoring, admission_images=0)
    assert not Protocol.objects.exists()
    return str(caught.value)


def test_unknown_presets_and_extractors_are_refused(digits: Dataset) -> None:
    assert refusal(digits, Scoring(preset="fid")).startswith(
        "expected a preset of classifier-test,"
    )
    assert refusal(digits, Scoring(extractor="vgg")).endswith("got 'vgg'")


@pytest.mark.usefixtures("engine_here")
def test_inception_without_weights_says_which_file_and_where_to_put_it(
    digits: Dataset, settings: Settings, data_dir: Path
) -> None:
    settings.INCEPTION_WEIGHTS = ""

    message = refusal(digits, Scoring(preset="inception-test"))

    assert message.startswith("digits, inception-test: Inception weights are missing")
    assert f"at {data_dir / 'extractors' / 'pt_inception-2015-12-05-6726825d.pth'}" in message
    assert f"(sha256 {INCEPTION_2015_SHA256})" in message


@pytest.mark.usefixtures("engine_here")
def test_the_weights_of_the_settings_are_used_and_named_when_they_are_none(
    digits: Dataset, settings: Settings, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"no weights")
    settings.INCEPTION_WEIGHTS = str(garbage)

    message = refusal(digits, Scoring(preset="inception-test"))

    assert f"{garbage} holds no weights of inception-v3-compat" in message


@pytest.mark.usefixtures("engine_here")
def test_a_metric_that_needs_what_there_is_not_is_refused(digits: Dataset) -> None:
    scoring = Scoring(extractor=PIXELS, metrics=("fd", "class_kl"))

    assert refusal(digits, scoring) == (
        "digits, pixels-pca64, fd, class_kl: metrics.class_kl: needs a classifier of the dataset"
    )


def test_a_classifier_takes_no_weights(digits: Dataset, tmp_path: Path) -> None:
    assert refusal(digits, Scoring(preset="classifier-test", weights=tmp_path)) == (
        "a dataset classifier is trained; --weights is for published ones"
    )


def test_an_unlabelled_dataset_has_no_classifier(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", [(f"{i}.png", PNG) for i in range(4)])
    with prepare_path(archive) as prepared:
        dataset = register_dataset("Flat", prepared)[0]

    assert refusal(dataset) == ("flat: unlabelled, so it has no classifier; choose another preset")


def test_damaged_files_are_not_scored_against(digits: Dataset) -> None:
    digits.train_path.unlink()

    assert refusal(digits) == f"digits: {digits.train_path}: No such file or directory"


def test_what_the_admission_test_found_is_kept_also_when_it_comes_later(protocol: Protocol) -> None:
    scoring = Scoring(preset="classifier-test")
    answer = {"fingerprint": protocol.fingerprint, "protocol": protocol.record, "weights": None}
    facts = {"admission": {"passed": True, "count": 500, "reasons": []}}

    for found in ({}, facts, {"admission": {"passed": False, "count": 9, "reasons": ["?"]}}):
        services._keep_protocol(protocol.dataset, scoring, {**answer, "facts": found})

    protocol.refresh_from_db()
    assert protocol.facts == facts


def test_the_same_images_under_another_name_do_not_share_a_protocol(protocol: Protocol) -> None:
    answer = {
        "fingerprint": protocol.fingerprint,
        "protocol": dict(protocol.record),
        "weights": None,
        "facts": {},
    }

    with pytest.raises(RegistrationError) as caught:
        services._keep_protocol(factories.make_dataset(slug="twin"), Scoring("pixels-test"), answer)

    assert str(caught.value) == (
        f"twin: {protocol.dataset} has the same images and this protocol already"
    )


def test_an_engine_that_breaks_shows_its_last_words() -> None:
    lines = ["Traceback (most recent call last):", "MemoryError"]

    assert services._last_words(lines, 1) == (
        "python -m evaluation ended with 1: Traceback (most recent call last):\nMemoryError"
    )
    assert services._last_words([], -9) == "python -m evaluation ended with -9: no message"


def test_the_number_of_images_makes_another_protocol(protocol: Protocol) -> None:
    weights = protocol.record["extractor"]["weights_sha256"]
    other = factories.make_protocol(dataset=protocol.dataset, num_images=50, weights_sha256=weights)

    assert "num images: 100 and 50" in protocol.differences(other)
    assert protocol.differences(protocol) == []


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
            dataset=protocol.dataset, record=protocol.record, fingerprint="0" * 64, num_images=100
        )

    assert str(caught.value) == "fingerprint: expected that of the record"


def test_a_dataset_with_protocols_stays(protocol: Protocol) -> None:
    with pytest.raises(ProtectedError):
        protocol.dataset.delete()


def admission(*, version: int, count: int, passed: bool) -> dict[str, Any]:
    reasons = [] if passed else ["noise: not seen"]
    return {"version": version, "count": count, "passed": passed, "reasons": reasons}


def test_a_test_by_the_rules_of_today_or_on_more_images_replaces_the_one_before(
    protocol: Protocol,
) -> None:
    answer = {"fingerprint": protocol.fingerprint, "protocol": protocol.record, "weights": None}
    kept = []
    for found in (
        {"count": 500, "passed": True, "reasons": []},  # of before: it has no version
        admission(version=2, count=100, passed=False),
        admission(version=2, count=100, passed=True),  # not to try until one passes
        admission(version=2, count=500, passed=True),
    ):
        facts = {"facts": {"admission": found}}
        row, _ = services._keep_protocol(protocol.dataset, Scoring("pixels-test"), answer | facts)
        kept.append((verdict_of(row).words, row.facts["admission"]["count"]))

    assert kept == [
        ("passed by the rules of before", 500),
        ("failed", 100),
        ("failed", 100),
        ("passed", 500),
    ]


def test_a_protocol_that_failed_has_no_ranks_and_one_that_lacks_images_none_of_some_metrics(
    protocol: Protocol,
) -> None:
    failed = admission(version=2, count=40, passed=False)
    lacking = {**failed, "reasons": [], "unranked": {"fd": "FD: 40 are too few"}}

    assert verdict_of(protocol).unranked == {}
    protocol.facts = {"admission": failed}
    assert set(verdict_of(protocol).unranked) == set(protocol.metrics)
    assert set(verdict_of(protocol).unranked.values()) == {"noise: not seen"}
    protocol.facts = {"admission": lacking}
    assert verdict_of(protocol).word == "failed"
    assert verdict_of(protocol).unranked == {"fd": "FD: 40 are too few"}
    assert verdict_of(protocol).reasons == ("FD: 40 are too few",)
    protocol.facts = {"admission": {"count": 9, "passed": False, "reasons": ["blur"]}}
    assert verdict_of(protocol).words == "failed by the rules of before"


@pytest.mark.usefixtures("engine_here")
def test_a_registered_protocol_is_tested_again_by_the_rules_of_today(digits: Dataset) -> None:
    scoring = Scoring(extractor="random-convolution", metrics=("fd", "kd"), num_images=100)
    protocol, _ = register_protocol(digits, scoring, admission_images=0)
    protocol.facts = {"admission": {"count": 100, "passed": True, "reasons": []}, "kept": "yes"}
    protocol.save()
    out = io.StringIO()

    call_command("admit_protocol", protocol.short, stdout=out, stderr=io.StringIO())

    protocol.refresh_from_db()
    found = verdict_of(protocol)
    assert (found.word, found.is_of_before, list(found.unranked)) == ("failed", False, ["fd"])
    assert protocol.facts["admission"]["count"] == 100 and protocol.facts["kept"] == "yes"
    assert out.getvalue().startswith("no ranks: FD[random-convolution]: 100 scored images")


def test_a_test_again_needs_one_protocol_and_whole_files(digits: Dataset) -> None:
    protocol = factories.make_protocol(dataset=digits, extractor="stacked-classifier")
    with pytest.raises(RegistrationError, match="expected the classifier data that it was"):
        services.admit_protocol(protocol)
    with pytest.raises(CommandError, match="got that of none"):
        call_command("admit_protocol", "f" * 64)
    digits.test_path.unlink()
    with pytest.raises(RegistrationError, match="No such file or directory"):
        services.admit_protocol(factories.make_protocol(dataset=digits))


def test_the_rules_of_today_are_the_engines() -> None:
    assert RULES == VERSION
