"""References of ``python -m evaluation``: images, published statistics, saved and lossy ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.features.base import extract
from evaluation.features.classifier import ClassifierExtractor, LabelledImages, TrainedClassifier
from evaluation.protocols.record import Protocol
from tests.evaluation.commands.test_commands import save_images, score, values

Digits = tuple[LabelledImages, LabelledImages]
Output = pytest.CaptureFixture[str]


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
