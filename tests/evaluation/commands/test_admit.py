"""``python -m evaluation admit``: the test that an extractor passes before it ranks anything."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.features import classifier_training
from evaluation.features.classifier import LabelledImages, TrainedClassifier
from evaluation.imagesets.in_memory import write_npz

Digits = tuple[LabelledImages, LabelledImages]
Output = pytest.CaptureFixture[str]


def test_an_extractor_passes_the_admission_test_or_says_why_not(
    files: Path, digits: Digits, capsys: Output
) -> None:
    options = ["--extractor", "pixels-pca64", "--num-images", "200"]
    write_npz(files / "blank.npz", np.zeros((200, 1, 8, 8), np.uint8), None)
    out = files / "admission.json"

    passed = main(["admit", "--reference", str(files / "train.npz"), *options, "--json", str(out)])
    assert "passed, 200 images on each side" in capsys.readouterr().out
    blank = ["admit", "--reference", str(files / "blank.npz"), "--extractor", "random-convolution"]
    failed = main(blank)
    assert "failed, 100 images on each side" in capsys.readouterr().out

    assert (passed, failed) == (0, 1)
    record = json.loads(out.read_text())
    assert record["passed"]
    assert set(record["ladders"]) == {"noise", "blur", "dropped_classes", "duplicates"}


def admission_of(capsys: Output, *command: str) -> dict[str, Any]:
    """Return what `protocol` says of its admission test."""
    assert main(["protocol", *command]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["facts"]["admission"]
    return found


def test_a_protocol_is_tested_on_its_own_number_of_images(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    command = ["--preset", "classifier-test", "--weights", str(trained.folder)]
    command += ["--reference", str(files / "train.npz"), "--held-out", str(files / "test.npz")]
    command += ["--admission-images", "400"]

    too_few = admission_of(capsys, *command, "--num-images", "40")
    few = admission_of(capsys, *command, "--num-images", "200")
    enough = admission_of(capsys, *command)

    assert (too_few["count"], too_few["passed"]) == (40, False)
    assert "of clean images and their spread" in too_few["reasons"][0]
    assert (few["count"], few["passed"], few["reasons"]) == (200, False, [])
    assert list(few["unranked"]) == ["fd", "fd_population"] and few["unranked"]["fd"].endswith(
        "it takes 320"
    )
    assert (enough["count"], enough["passed"], enough["unranked"]) == (400, True, {})
    assert enough["classifier"]["accuracy"] > 0.95 and enough["classifier"]["images"] == 500


def test_a_classifier_that_learned_little_is_not_admitted(
    files: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """Of images that say nothing of their labels: a poor classifier's features see corruption."""
    monkeypatch.setattr(classifier_training, "MIN_IMAGES_SEEN", 6_400)
    train, test = digits
    write_npz(files / "few.npz", train.pixels[:160], np.arange(160) % 10)
    write_npz(files / "few-test.npz", test.pixels[:40], test.labels[:40])
    command = ["--extractor", "dataset-classifier", "--reference", str(files / "few.npz")]

    status = main(["admit", *command, "--held-out", str(files / "few-test.npz")])
    printed = capsys.readouterr().out
    unknown = main(["admit", *command])

    assert (status, unknown) == (1, 1)
    assert "the classifier is right on" in printed and "of 40 held-out images" in printed
    assert "failed, 80 images on each side" in printed
    assert "expected labelled held-out images" in capsys.readouterr().out


def test_a_protocol_in_a_file_is_tested_again(
    files: Path, digits: Digits, tmp_path: Path, capsys: Output
) -> None:
    command = ["--reference", str(files / "train.npz")]
    made = [*command, "--extractor", "random-convolution", "--metrics", "fd,kd"]
    made += ["--num-images", "100"]
    file, out = str(tmp_path / "protocol.json"), tmp_path / "found.json"
    assert main(["protocol", *made, "--json", file]) == 0
    write_npz(files / "other.npz", digits[0].pixels[::-1], None)

    status = main(["admit", *command, "--protocol", file, "--json", str(out)])

    assert status == 1
    assert list(json.loads(out.read_text())["unranked"]) == ["fd"]
    capsys.readouterr()
    for wrong, words in (
        (["--reference", str(files / "other.npz")], "the reference images are not the protocol's"),
        (
            [*command, "--extractor", "dataset-classifier"],
            "--extractor: the protocol's is random-conv",
        ),
    ):
        assert main(["admit", *wrong, "--protocol", file]) == 2
        assert words in capsys.readouterr().err
