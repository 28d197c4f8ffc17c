"""What ``python -m evaluation`` reads, keeps and makes besides a score of two files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.__main__ import main
from evaluation.features import classifier_training
from evaluation.features.base import extract
from evaluation.features.classifier import ClassifierExtractor, LabelledImages, TrainedClassifier
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


def test_the_captions_of_a_set_are_told(files: Path, digits: Digits, capsys: Output) -> None:
    pixels = digits[0].pixels[:100]
    captions = ["a small red circle", "two dots"] * 50
    write_npz(files / "told.npz", pixels, None, captions=captions)
    command = ["protocol", "--reference", str(files / "told.npz"), "--extractor", "pixels-pca64"]

    assert main([*command, "--num-images", "50"]) == 0

    assert capsys.readouterr().err == (
        "reference: 100 captions, 2 distinct, of 6 distinct words; 2 to 4 words each, 3 on "
        "average\n"
    )


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


def test_published_statistics_are_a_reference_for_the_frechet_distance_alone(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    np.savez(files / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    command = ["score", str(files / "test.npz"), "--reference", str(files / "stats.npz")]
    command += ["--extractor", "dataset-classifier", "--weights", str(trained.folder)]
    out = files / "out.json"

    assert main([*command, "--json", str(out)]) == 0
    capsys.readouterr()

    found = json.loads(out.read_text())
    assert found["protocol"]["reference"]["kind"] == "statistics"
    assert list(found["metrics"]) == ["fd"]
    assert main([*command, "--metrics", "kd"]) == 2
    assert "metrics.kd: needs reference images, not their statistics" in capsys.readouterr().err


@pytest.fixture
def both(files: Path, trained: TrainedClassifier, digits: Digits) -> Callable[..., list[str]]:
    """Return what writes both.npz, images and statistics as ADM has them, and a command."""

    def write(seen: slice = slice(None), *, noise: float = 0.0) -> list[str]:
        pixels, rng = digits[0].pixels, np.random.default_rng(0)
        found = extract(ClassifierExtractor(trained.folder), pixels[seen]).features.numpy()
        found = found * (1 + noise * rng.normal(size=found.shape))
        mean, covariance = found.mean(0), np.cov(found, rowvar=False)
        np.savez(
            files / "both.npz",
            arr_0=pixels.transpose(0, 2, 3, 1),
            labels=digits[0].labels,
            mu=mean,
            sigma=covariance,
            mu_s=np.zeros(7),
            sigma_s=np.eye(7),
        )
        command = ["score", str(files / "test.npz"), "--reference", str(files / "both.npz")]
        return [*command, "--extractor", "dataset-classifier", "--weights", str(trained.folder)]

    return write


def test_images_beside_statistics_are_measured_against(
    files: Path, both: Callable[..., list[str]], capsys: Output
) -> None:
    command, out = both(), files / "out.json"
    of_images = [word.replace("both.npz", "train.npz") for word in command]

    assert main([*command, "--json", str(out)]) == 0
    printed = capsys.readouterr()
    assert main([*of_images, "--json", str(files / "images.json")]) == 0

    record, expected = (json.loads(path.read_text()) for path in (out, files / "images.json"))
    statistics = record.pop("reference_statistics")
    expected["protocol"]["dataset"] = "both.npz"
    assert record == expected
    assert {"kd", "precision"} <= record["metrics"].keys()
    assert statistics["agree"] is True and statistics["relative"] < 1e-6
    assert "mu and sigma in both.npz are those of the images beside them" in printed.out
    assert "sigma" not in printed.err


def test_statistics_of_other_images_are_told_from_rounding(
    files: Path, both: Callable[..., list[str]], capsys: Output
) -> None:
    out = files / "out.json"

    assert main([*both(noise=1e-3), "--metrics", "fd", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["reference_statistics"]["agree"] is True
    assert "sigma" not in capsys.readouterr().err
    assert main([*both(slice(650)), "--metrics", "fd", "--json", str(out)]) == 0

    record = json.loads(out.read_text())
    found = record["reference_statistics"]
    assert found["agree"] is False
    assert found["relative"] > 10 * found["tolerance"]
    warning = capsys.readouterr().err
    assert "mu and sigma in both.npz are not those of the images beside them" in warning
    assert f"Fréchet distance {found['distance']:.3g}" in warning
    imported = ["reference", "import", str(files / "both.npz"), "--name", "published"]
    assert main([*imported, "--extractor", "dataset-classifier"]) == 0
    assert main(["reference", "list", "--json"]) == 0
    assert f'"digest": "{found["digest"]}"' in capsys.readouterr().out


def test_a_protocol_of_statistics_is_still_scored_against_them(
    files: Path, both: Callable[..., list[str]], capsys: Output
) -> None:
    command, a, b = both(slice(650)), files / "a.json", files / "b.json"
    with np.load(files / "both.npz") as arrays:
        np.savez(files / "alone.npz", mu=arrays["mu"], sigma=arrays["sigma"])
    alone = [word.replace("both.npz", "alone.npz") for word in command]

    assert main([*alone, "--json", str(a)]) == 0
    assert main([*command, "--protocol", str(a), "--json", str(b)]) == 0

    assert a.read_text() == b.read_text()
    assert capsys.readouterr().err == ""


def test_statistics_of_another_extractor_do_not_stand_in_the_way(
    files: Path, both: Callable[..., list[str]], capsys: Output
) -> None:
    both()
    command = score(files, "test.npz", "--metrics", "fd", "--json", str(files / "out.json"))

    assert main([word.replace("train.npz", "both.npz") for word in command]) == 0

    assert "reference_statistics" not in json.loads((files / "out.json").read_text())
    assert "mu and sigma in both.npz are of another extractor" in capsys.readouterr().err


def test_images_beside_statistics_can_be_saved_as_a_reference(
    files: Path, both: Callable[..., list[str]], capsys: Output
) -> None:
    command = both()
    build = ["reference", "build", str(files / "both.npz"), "--name", "both", *command[4:]]

    assert main(build) == 0

    assert "mu and sigma in both.npz are those of the images" in capsys.readouterr().out


def test_a_saved_reference_scores_as_its_images_do(files: Path, capsys: Output) -> None:
    saved = ["--extractor", "random-convolution"]
    build = ["reference", "build", str(files / "train.npz"), "--name", "digits", *saved]
    by_name = ["score", str(files / "test.npz"), "--reference", "digits"]
    by_file = ["score", str(files / "test.npz"), "--reference", str(files / "train.npz"), *saved]

    assert main(build) == 0
    assert main([*by_name, "--json", str(files / "a.json")]) == 0
    assert main([*by_file, "--json", str(files / "b.json")]) == 0
    capsys.readouterr()

    assert values(files / "a.json") == values(files / "b.json")
    assert main(["compare", str(files / "a.json"), str(files / "b.json")]) == 0
    capsys.readouterr()
    assert main(["reference", "list", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["kind"], facts["count"]) == ("digits", "images", 1297)


def test_imported_statistics_are_listed_and_used(
    files: Path, trained: TrainedClassifier, capsys: Output
) -> None:
    np.savez(files / "stats.npz", mu=np.zeros(64), sigma=np.eye(64))
    named = ["--extractor", "dataset-classifier"]

    command = ["reference", "import", str(files / "stats.npz"), "--name", "s", *named]
    assert main([*command, "--num-images", "60000"]) == 0
    assert "statistics" in capsys.readouterr().out
    assert main(["reference", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["count"] == 60_000
    command = ["score", str(files / "test.npz"), "--reference", "s", *named]
    assert main([*command, "--weights", str(trained.folder)]) == 0
    assert "500 images against published statistics" in capsys.readouterr().out


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


def test_lossy_references_are_noted_in_the_protocol_and_told(
    files: Path, digits: Digits, capsys: Output
) -> None:
    save_images(files / "jpeg" / "a", digits[0].pixels[:60], "jpg")
    save_images(files / "jpeg" / "b", digits[0].pixels[60:80])
    save_images(files / "held-out", digits[1].pixels[:10], "jpg")
    sets = ["--reference", str(files / "jpeg"), "--held-out", str(files / "held-out")]
    words = "60 of 80 reference images are from lossy files (JPEG, lossy WebP); features see the"
    chosen = ["--extractor", "pixels-pca64", "--metrics", "fd"]

    assert main(["protocol", *sets, *chosen]) == 0
    made = capsys.readouterr()
    assert main(["score", str(files / "test.npz"), *sets, *chosen]) == 0
    scored = capsys.readouterr()
    main(["admit", *sets, "--extractor", "pixels-pca64"])
    admitted = capsys.readouterr()

    record = json.loads(made.out)["protocol"]
    assert (record["reference"]["lossy"], record["held_out"]["lossy"]) == (60, 10)
    assert all(words in told.err for told in (made, scored, admitted))
    assert "10 of 10 held-out images are from lossy files" in scored.err
    without = {**record, "reference": {**record["reference"]}}
    del without["reference"]["lossy"]
    same = [Protocol.from_record(each).fingerprint() for each in (record, without)]
    assert same[0] == same[1] == json.loads(made.out)["fingerprint"]


def test_a_saved_reference_remembers_its_lossy_files(
    files: Path, digits: Digits, capsys: Output
) -> None:
    save_images(files / "jpeg", digits[0].pixels[:60], "jpg")
    network = ["--extractor", "random-convolution"]
    assert main(["reference", "build", str(files / "jpeg"), "--name", "real", *network]) == 0
    capsys.readouterr()

    assert main(["score", str(files / "test.npz"), "--reference", "real", "--metrics", "fd"]) == 0

    assert "60 of 60 reference images are from lossy files" in capsys.readouterr().err
