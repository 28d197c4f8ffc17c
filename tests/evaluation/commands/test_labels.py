"""The rule of labels on the command line: chosen by `protocol`, told by `score`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.features.classifier import LabelledImages
from evaluation.imagesets.in_memory import write_npz
from generators.trained.labels import labels_by_share

Digits = tuple[LabelledImages, LabelledImages]
Output = pytest.CaptureFixture[str]
SHARES = [0, 60, 25, 15]


@pytest.fixture
def imbalanced(files: Path, digits: Digits) -> Path:
    """Write reference.npz, whose labels begin at 1, and return its folder."""
    labels = np.repeat(np.arange(4), SHARES)
    write_npz(files / "reference.npz", digits[0].pixels[: len(labels)], labels)
    return files


def make(folder: Path, *more: str) -> dict[str, object]:
    command = ["protocol", "--reference", str(folder / "reference.npz"), "--metrics", "fd,recall"]
    out = folder / "protocol.json"
    assert main([*command, "--extractor", "pixels-pca64", "--json", str(out), *more]) == 0
    labels: dict[str, object] = json.loads(out.read_text())["protocol"]["images"]["labels"]
    return labels


def test_the_rule_of_a_protocol_is_chosen(imbalanced: Path, capsys: Output) -> None:
    assert (
        make(imbalanced)["shares"] == make(imbalanced, "--labels", "reference")["shares"] == SHARES
    )
    assert make(imbalanced, "--labels", "uniform")["shares"] == [0, 1, 1, 1]
    given = make(imbalanced, "--labels", "0,1,2,3")
    assert (given["rule"], given["shares"]) == ("given", [0, 1, 2, 3])
    command = ["protocol", "--reference", str(imbalanced / "reference.npz"), "--metrics", "fd"]
    command += ["--extractor", "pixels-pca64"]
    assert main([*command, "--labels", "1,1,1,1"]) == 2
    with pytest.raises(SystemExit):
        main([*command, "--labels", "odd"])

    err = capsys.readouterr().err
    assert "images.labels: class 0 has a share, but no image of the reference is of it" in err
    assert "--labels: expected reference, uniform or a whole number for each class, as in 7" in err


def warning(folder: Path, generated: str, capsys: Output, *more: str) -> str:
    capsys.readouterr()
    command = ["score", str(folder / generated), "--reference", str(folder / "reference.npz")]
    command += ["--protocol", str(folder / "protocol.json"), *more]
    assert main(command) == 0
    err = capsys.readouterr().err
    return "\n".join(line for line in err.splitlines() if "labels" in line)


def test_labels_that_do_not_follow_the_rule_are_told_with_numbers(
    imbalanced: Path, digits: Digits, capsys: Output
) -> None:
    make(imbalanced, "--num-images", "90")
    pixels = digits[1].pixels[:90]
    for name, labels in (
        ("turn", np.arange(90) % 4),
        ("rule", labels_by_share(90, SHARES)),
        ("bare", None),
    ):
        write_npz(imbalanced / f"{name}.npz", pixels, labels)

    assert warning(imbalanced, "turn.npz", capsys) == (
        "warning: generated images: their labels are not in the reference's shares of 3 classes "
        "(0 : 60 : 25 : 15), as the protocol says: class 1 has 23 of 90 images, its share is 54.0; "
        "class 0 has 23 of 90 images, its share is 0.0; class 3 has 22 of 90 images, its share is "
        "13.5"
    )
    assert warning(imbalanced, "rule.npz", capsys) == ""
    assert warning(imbalanced, "bare.npz", capsys) == ""


def test_folders_carry_labels_by_their_names_or_none(
    imbalanced: Path, digits: Digits, capsys: Output
) -> None:
    make(imbalanced, "--num-images", "60")
    for number, image in enumerate(digits[1].pixels[:60]):
        for place in (f"one/{1 + number % 3}", "flat", f"deep/{'xy'[number % 2]}"):
            (imbalanced / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(imbalanced / place / f"{number}.png")

    assert "class 1 has 20 of 60 images, its share is 36.0" in warning(imbalanced, "one", capsys)
    assert warning(imbalanced, "flat", capsys) == warning(imbalanced, "deep", capsys) == ""


def test_a_protocol_of_before_says_nothing_of_labels_and_scores_as_it_did(
    imbalanced: Path, digits: Digits, capsys: Output
) -> None:
    write_npz(imbalanced / "turn.npz", digits[1].pixels[:90], np.arange(90) % 4)
    make(imbalanced, "--num-images", "90")
    answer = json.loads((imbalanced / "protocol.json").read_text())
    del answer["protocol"]["images"]["labels"]
    (imbalanced / "protocol.json").write_text(json.dumps(answer["protocol"]))

    assert warning(imbalanced, "turn.npz", capsys, "--json", str(imbalanced / "old.json")) == ""

    record = json.loads((imbalanced / "old.json").read_text())
    assert record["protocol"] == answer["protocol"]
    assert record["fingerprint"] != answer["fingerprint"]
    assert record["metrics"]["fd"]["value"] > 0
