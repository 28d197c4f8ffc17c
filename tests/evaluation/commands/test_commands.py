"""What ``python -m evaluation`` reads, keeps and makes besides a score of two files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.features import classifier_training
from evaluation.features.classifier import LabelledImages, TrainedClassifier
from evaluation.imagesets.in_memory import write_npz
from evaluation.protocols.presets import PRESETS
from evaluation.protocols.record import Protocol

Digits = tuple[LabelledImages, LabelledImages]
Output = pytest.CaptureFixture[str]


def score(files: Path, generated: str = "test.npz", *more: str) -> list[str]:
    """Return the command that scores on principal components, which need no weights."""
    command = ["score", str(files / generated), "--reference", str(files / "train.npz")]
    return [*command, "--extractor", "pixels-pca64", *more]


def values(path: Path) -> dict[str, float | None]:
    record = json.loads(path.read_text())
    return {name: found.get("value") for name, found in record["metrics"].items()}


def save_images(folder: Path, pixels: np.ndarray, suffix: str = "png") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(folder / f"{number:04}.{suffix}")


def test_the_metrics_asked_for_are_measured_and_no_others(files: Path) -> None:
    out = files / "out.json"

    assert main(score(files, "test.npz", "--metrics", "vendi,fd", "--json", str(out))) == 0

    found = json.loads(out.read_text())
    assert list(found["metrics"]) == list(found["protocol"]["metrics"]) == ["fd", "vendi"]


def test_a_metric_that_is_not_defined_is_absent_with_its_reason(files: Path) -> None:
    out = files / "out.json"

    assert main(score(files, "test.npz", "--metrics", "psnr", "--json", str(out))) == 0

    assert json.loads(out.read_text())["metrics"]["psnr"] == {
        "label": "PSNR",
        "absent": True,
        "reason": "needs a reconstruction of every reference image: 1297 originals, "
        "500 of 500 images scored",
    }


def test_reconstructions_are_compared_image_by_image(files: Path, digits: Digits) -> None:
    pixels = digits[0].pixels
    write_npz(files / "back.npz", np.where(pixels < 255, pixels + 1, 254).astype(np.uint8), None)
    out = files / "out.json"

    assert main(score(files, "back.npz", "--metrics", "psnr", "--json", str(out))) == 0

    assert values(out)["psnr"] == pytest.approx(48.1308036, abs=1e-6)


def test_held_out_images_give_the_metrics_that_need_them(files: Path) -> None:
    out, held_out = files / "out.json", str(files / "test.npz")

    for generated in ("test.npz", "train.npz"):
        command = score(files, generated, "--held-out", held_out, "--num-images", "500")
        assert main([*command, "--metrics", "ct,authenticity", "--json", str(out)]) == 0
        found = values(out)
        if generated == "test.npz":
            assert found["ct"] == pytest.approx(0, abs=1e-9)
        else:
            assert found["ct"] is not None
            assert found["ct"] < -3
            assert found["authenticity"] == 0


def test_a_reference_that_is_not_square_is_refused_by_its_size(files: Path, capsys: Output) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (80, 3, 12, 9), np.uint8)
    write_npz(files / "faces.npz", faces, None)
    command = ["score", str(files / "test.npz"), "--reference", str(files / "faces.npz")]

    assert main([*command, "--extractor", "pixels-pca64"]) == 2
    assert capsys.readouterr().err == (
        "error: reference: images of 9x12 pixels; expected square ones: crop or resize them "
        "first, as a protocol has one resolution\n"
    )


def test_what_is_left_out_of_a_set_is_said(files: Path, digits: Digits, capsys: Output) -> None:
    save_images(files / "set", digits[1].pixels[:70])
    (files / "set" / "notes.txt").write_text("hello")

    assert main(score(files, "set")) == 0

    assert "generated images: left out 1 text file (notes.txt)" in capsys.readouterr().err


def test_images_are_found_at_any_depth_and_score_as_an_array_does(
    files: Path, digits: Digits
) -> None:
    save_images(files / "deep" / "a" / "b", digits[1].pixels[:200])
    np.save(files / "array.npy", digits[1].pixels[:200])

    for name in ("deep", "array.npy"):
        assert main(score(files, name, "--json", str(files / f"{name}.json"))) == 0

    assert values(files / "deep.json") == values(files / "array.npy.json")


def test_lossy_images_are_refused_or_scored_under_another_protocol(
    files: Path, digits: Digits, capsys: Output
) -> None:
    save_images(files / "lossy", digits[1].pixels[:60], "jpg")
    refused, accepted, lossless = (files / f"{name}.json" for name in "abc")

    assert main(score(files, "lossy", "--json", str(refused))) == 2
    assert "0000.jpg: a lossy JPEG image" in capsys.readouterr().err
    assert not refused.exists()
    assert main(score(files, "lossy", "--allow-lossy", "--json", str(accepted))) == 0
    assert "60 of 60 images are from lossy files" in capsys.readouterr().err

    main(score(files, "test.npz", "--num-images", "60", "--json", str(lossless)))
    capsys.readouterr()
    assert main(["compare", str(accepted), str(lossless)]) == 1
    assert "images lossy: " in capsys.readouterr().out


def test_copies_are_counted(files: Path, digits: Digits, capsys: Output) -> None:
    twice = np.concatenate([digits[1].pixels[:50], digits[1].pixels[:25], digits[0].pixels[:10]])
    write_npz(files / "copies.npz", twice, None)
    out = files / "out.json"

    main(score(files, "copies.npz", "--json", str(out)))

    found = json.loads(out.read_text())["generated"]
    assert (found["count"], found["duplicates"], found["copies_of_reference"]) == (85, 25, 10)
    printed = capsys.readouterr().err
    assert "25 of 85 images are exact copies of earlier ones" in printed
    assert "10 of 85 are exact copies of reference images" in printed


def test_floats_and_what_is_not_finite_are_refused(files: Path, capsys: Output) -> None:
    np.save(files / "nan.npy", np.full((5, 8, 8, 1), np.nan, np.float32))

    assert main(score(files, "nan.npy")) == 2

    assert "nan.npy: float32 (5, 8, 8, 1) with 320 NaN" in capsys.readouterr().err


def test_a_protocol_is_made_once_and_scored_under_everywhere(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    sets = ["--reference", str(files / "train.npz"), "--held-out", str(files / "test.npz")]
    weights = ["--weights", str(trained.weights)]
    made, scored = files / "protocol.json", files / "scored.json"

    assert (
        main(["protocol", "--preset", "classifier-test", *sets, *weights, "--json", str(made)]) == 0
    )
    command = ["score", str(files / "test.npz"), *sets, *weights, "--json", str(scored)]
    assert main([*command, "--protocol", str(made)]) == 0

    record = json.loads(made.read_text())
    assert record["fingerprint"] == json.loads(scored.read_text())["fingerprint"]
    assert record["fingerprint"] == Protocol.from_record(record["protocol"]).fingerprint()
    assert record["weights"] == str(trained.weights)
    assert main(["compare", str(made), str(scored)]) == 0


def test_every_preset_is_offered(capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["score", "--help"])

    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PRESETS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "classifier-test"], "expected --preset or --extractor, got both"),
        (["--metrics", "class_kl"], "metrics.class_kl: needs a classifier of the dataset"),
        (["--metrics", "ct"], "metrics.ct: needs held-out real images"),
        (["--protocol", "p.json", "--metrics", "fd"], "expected --protocol or --metrics, got both"),
        (["--json", "nowhere/a.json"], "--json: the folder {cwd}/nowhere does not exist"),
        (["--weights", "w.pth"], "--weights: expected none, as pixels-pca64 has none; got w.pth"),
        (
            ["--classifier-data", "d.zip"],
            "--classifier-data: expected none, as pixels-pca64 trains none; got d.zip",
        ),
        (
            ["--compile"],
            "--compile: expected inception-v3-compat, the only one compiled; got pixels-pca64",
        ),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(
    files: Path, capsys: Output, options: list[str], message: str
) -> None:
    assert main(score(files, "test.npz", *options)) == 2
    assert capsys.readouterr().err == f"error: {message.format(cwd=Path.cwd())}\n"


def test_a_classifier_is_either_given_or_trained(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    command = ["score", str(files / "test.npz"), "--reference", str(files / "train.npz")]
    command += ["--extractor", "dataset-classifier", "--weights", str(trained.folder)]

    assert main([*command, "--classifier-data", str(files / "train.npz")]) == 2

    assert capsys.readouterr().err == "error: expected --weights or --classifier-data, got both\n"


def test_compiling_is_refused_where_it_saves_no_time(
    files: Path, tmp_path: Path, capsys: Output
) -> None:
    command = ["score", str(files / "test.npz"), "--reference", str(files / "train.npz")]
    command += ["--weights", str(tmp_path / "inception.pth"), "--device", "cpu"]

    assert main([*command, "--compile"]) == 2

    assert capsys.readouterr().err == "error: --compile: expected a cuda device, got cpu\n"


def test_a_preset_without_held_out_images_scores_as_many_as_the_reference_has(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    command = ["protocol", "--preset", "classifier-test", "--weights", str(trained.folder)]
    command += ["--reference", str(files / "train.npz")]

    counts = []
    for held_out in ([], ["--held-out", str(files / "test.npz")]):
        assert main([*command, *held_out]) == 0
        counts.append(json.loads(capsys.readouterr().out)["protocol"]["num_images"])

    assert counts == [1297, 500]


def test_the_test_part_of_classifier_data_tells_the_accuracy_for_stacked_images(
    files: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(classifier_training, "MIN_IMAGES_SEEN", 12_800)
    monkeypatch.setattr(classifier_training, "PASSES", 1)
    for part, split in zip(("train", "test"), digits, strict=True):
        for label in range(10):
            save_images(files / "grey" / part / str(label), split.pixels[split.labels == label])
    stacked = digits[0].pixels[:300].reshape(100, 3, 8, 8)
    write_npz(files / "stacked.npz", stacked, None)
    command = ["protocol", "--preset", "stacked-modes", "--reference", str(files / "stacked.npz")]

    assert main([*command, "--classifier-data", str(files / "grey")]) == 0

    assert json.loads(capsys.readouterr().out)["facts"]["test_accuracy"] > 0.7


def test_an_unknown_metric_is_answered_with_the_known_ones(files: Path, capsys: Output) -> None:
    with pytest.raises(SystemExit) as caught:
        main(score(files, "test.npz", "--metrics", "fid"))

    assert caught.value.code == 2
    assert "expected metrics of fd, fd_population, fd_infinity, kd" in capsys.readouterr().err
