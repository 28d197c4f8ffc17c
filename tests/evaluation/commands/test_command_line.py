"""``python -m evaluation``: what it prints, writes and refuses."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.features import classifier_training
from evaluation.features.classifier import LabelledImages, TrainedClassifier
from evaluation.imagesets.in_memory import write_npz

Digits = tuple[LabelledImages, LabelledImages]
Output = pytest.CaptureFixture[str]


def score(files: Path, trained: TrainedClassifier, *more: str) -> list[str]:
    return [
        "score",
        str(files / "test.npz"),
        "--reference",
        str(files / "train.npz"),
        "--extractor",
        "dataset-classifier",
        "--weights",
        str(trained.folder),
        *more,
    ]


def test_score_prints_every_metric_with_its_direction_and_the_fingerprint(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    path = files / "result.json"

    status = main(score(files, trained, "--json", str(path)))

    record = json.loads(path.read_text())
    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.split("  ")[0] for line in lines[1:12]] == [
        "FD[classifier] ↓",
        "Population FD[classifier] ↓",
        "KD[classifier] ↓",
        "CS[classifier] ↑",
        "PR[classifier] precision ↑",
        "DC[classifier] density ↑",
        "PR[classifier] recall ↑",
        "DC[classifier] coverage ↑",
        "Class KL[classifier] ↓",
        "Missing classes[classifier] ↓",
        "NN[classifier] authenticity ↑",
    ]
    assert lines[-2:] == [
        "500 images against 1297 real ones",
        f"protocol {record['fingerprint']}",
    ]
    assert list(record["metrics"]) == list(record["protocol"]["metrics"])
    assert record["metrics"]["fd"].keys() >= {"value", "corrected", "standard_error", "interval"}
    assert f"{record['metrics']['fd']['value']:.5g}" in lines[1]


def test_scores_of_the_same_images_agree_from_npz_folder_and_zip(
    files: Path, trained: TrainedClassifier, digits: Digits
) -> None:
    folder, archive = files / "images", files / "images.zip"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as target:
        for number, pixels in enumerate(digits[1].pixels):
            path = folder / f"{number:05}.png"
            Image.fromarray(pixels[0]).save(path)
            target.write(path, path.name)

    results = []
    for source in (files / "test.npz", folder, archive):
        command = score(files, trained, "--json", str(files / "out.json"))
        command[1] = str(source)
        assert main(command) == 0
        results.append(json.loads((files / "out.json").read_text()))

    assert results[0] == results[1] == results[2]


def test_a_result_can_be_repeated_under_its_own_protocol(
    files: Path, trained: TrainedClassifier
) -> None:
    first, second = files / "a.json", files / "b.json"

    main(score(files, trained, "--num-images", "400", "--json", str(first)))
    main(score(files, trained, "--protocol", str(first), "--json", str(second)))

    assert first.read_text() == second.read_text()


def test_a_protocol_of_another_reference_is_refused(
    files: Path, trained: TrainedClassifier, digits: Digits, capsys: Output
) -> None:
    main(score(files, trained, "--json", str(files / "a.json")))
    pixels = digits[0].pixels.copy()
    pixels[0] = 0
    write_npz(files / "train.npz", pixels, digits[0].labels)

    status = main(score(files, trained, "--protocol", str(files / "a.json")))

    assert status == 2
    assert (
        "error: the reference images are not the protocol's: expected digest"
        in capsys.readouterr().err
    )


def test_compare_says_what_differs(files: Path, trained: TrainedClassifier, capsys: Output) -> None:
    a, b = files / "a.json", files / "b.json"
    main(score(files, trained, "--json", str(a)))
    main(score(files, trained, "--num-images", "400", "--json", str(b)))
    capsys.readouterr()

    same, other = main(["compare", str(a), str(a)]), main(["compare", str(a), str(b)])

    fingerprint = json.loads(a.read_text())["fingerprint"]
    assert (same, other) == (0, 1)
    assert capsys.readouterr().out.splitlines() == [
        f"comparable: both have the fingerprint {fingerprint}",
        "not comparable:",
        "  metrics coverage reference count: 500 and 400",
        "  metrics density reference count: 500 and 400",
        "  metrics precision reference count: 500 and 400",
        "  metrics recall reference count: 500 and 400",
        "  num images: 500 and 400",
    ]


def test_classifier_trains_once_and_prints_what_it_has(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(classifier_training, "MIN_IMAGES_SEEN", 1280)
    monkeypatch.setattr(classifier_training, "PASSES", 1)
    command = ["classifier", "--data", str(files / "train.npz"), "--test", str(files / "test.npz")]
    command += ["--out", str(files / "out"), "--json"]

    assert main(command) == 0
    first = capsys.readouterr().out
    assert main(command) == 0

    assert capsys.readouterr().out == first
    record = json.loads(first)
    assert list(record) == ["weights", "weights_sha256", "test_accuracy", "dim", "recipe"]
    assert Path(record["weights"]).is_file()
    assert record["test_accuracy"] > 0.5


def test_a_reference_without_labels_cannot_train_a_classifier(
    files: Path, digits: Digits, capsys: Output
) -> None:
    write_npz(files / "plain.npz", digits[0].pixels, None)
    command = ["score", str(files / "test.npz"), "--reference", str(files / "plain.npz")]

    status = main([*command, "--extractor", "dataset-classifier"])

    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err == (
        "error: --reference has no labels: the dataset classifier needs labelled images "
        "(--classifier-data), or use --extractor inception-v3-compat\n"
    )


def test_a_missing_file_is_an_error_and_no_traceback(files: Path, capsys: Output) -> None:
    status = main(["score", str(files / "none.npz"), "--reference", str(files / "train.npz")])

    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    assert captured.err == f"error: generated images: {files / 'none.npz'} does not exist\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", "{path} is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "{path} holds no protocol: record: expected an object, got []"),
        ("{}", "{path} holds no protocol: reference: missing"),
    ],
)
def test_a_file_without_a_protocol_is_refused(
    tmp_path: Path, capsys: Output, content: str, message: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)

    status = main(["compare", str(path), str(path)])

    assert status == 2
    assert capsys.readouterr().err == f"error: {message.format(path=path)}\n"


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("--num-images", "0", "expected a whole number of at least 1, got '0'"),
        ("--batch-size", "-4", "expected a whole number of at least 1, got '-4'"),
        ("--device", "abacus", "no device 'abacus' here"),
        ("--extractor", "vgg", "expected an extractor of inception-v3-compat, dataset-classifier"),
    ],
)
def test_a_wrong_option_is_refused(capsys: Output, option: str, given: str, message: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["score", "a.npz", "--reference", "b.npz", option, given])

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_more_images_than_there_are_is_an_error(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    status = main(score(files, trained, "--num-images", "501"))

    assert status == 2
    assert capsys.readouterr().err == "error: expected at least 501 generated images, got 500\n"


def test_parts_of_an_archive_can_be_compared(
    files: Path, trained: TrainedClassifier, digits: Digits, capsys: Output
) -> None:
    archive = files / "digits.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for name, split in zip(("train", "test"), digits, strict=True):
            for number, pixels in enumerate(split.pixels[:80]):
                path = files / "one.png"
                Image.fromarray(pixels[0]).save(path)
                target.write(path, f"{name}/{number:05}.png")
    command = ["score", str(archive), "--reference", str(archive), "--part", "test"]

    status = main(
        [*command, "--extractor", "dataset-classifier", "--weights", str(trained.weights)]
    )

    assert status == 0
    assert "80 images against 80 real ones" in capsys.readouterr().out


@pytest.mark.slow
def test_it_runs_as_a_program_and_never_cuts_a_label(
    files: Path, trained: TrainedClassifier
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "evaluation", *score(files, trained)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "40"},
    )

    assert result.returncode == 0
    assert result.stderr.count("\n") == 1 and "their labels are not in" in result.stderr
    assert "PR[classifier] precision ↑ " in result.stdout
