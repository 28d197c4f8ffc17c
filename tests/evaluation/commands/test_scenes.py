"""``python -m evaluation scenes``: what it writes is read as any set of images, and is scored."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.imagesets.in_memory import read_images, read_parts
from evaluation.protocols.prompts import packaged_prompts, read_prompts
from evaluation.scenes.drawing import draw_scenes
from evaluation.scenes.prompt_set import scenes_prompts

Output = pytest.CaptureFixture[str]


def test_a_folder_of_scenes_has_two_parts_with_captions(tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "scenes"

    status = main(["scenes", "--num", "40", "--num-test", "10", "--seed", "3", "--out", str(out)])

    drawn, found = draw_scenes(40, 32, 3), read_images(out, part="train")
    assert status == 0 and read_parts(out) == ("train", "test")
    assert np.array_equal(found.pixels, drawn.pixels) and found.captions == drawn.captions
    assert read_images(out, part="test").captions == draw_scenes(10, 32, 3, "test").captions
    assert "train.npz: 40 train scenes" in capsys.readouterr().out


def test_one_split_is_a_file(tmp_path: Path) -> None:
    out = tmp_path / "scenes.npz"

    command = ["scenes", "--side", "64", "--num", "5", "--split", "test", "--out", str(out)]
    assert main(command) == 0

    assert read_images(out).captions == draw_scenes(5, 64, 0, "test").captions


@pytest.mark.parametrize("given", [["--out", "x.npz"], ["--split", "train", "--out", "x"]])
def test_a_file_has_one_split_and_a_folder_both(given: list[str], capsys: Output) -> None:
    assert main(["scenes", *given]) == 2

    assert "--out: expected FILE.npz with --split" in capsys.readouterr().err


def test_shuffled_scenes_are_of_prompts(tmp_path: Path, capsys: Output) -> None:
    assert main(["scenes", "--shuffled", "--out", str(tmp_path / "x")]) == 2

    assert "--shuffled: expected --prompts too" in capsys.readouterr().err


def test_the_packaged_prompts_are_written(tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "prompts.json"

    assert main(["prompts", "--out", str(out)]) == 0

    prompts = packaged_prompts("scenes")
    assert read_prompts(out.read_text()) == prompts
    assert capsys.readouterr().out == f"{out}: 80 prompts, digest {prompts.digest()}\n"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Return a file of six prompts, a held-out pair among them."""
    record = scenes_prompts()
    record["prompts"] = [*record["prompts"][:5], record["prompts"][35]]
    path = tmp_path / "few.json"
    path.write_text(json.dumps(record))
    return path


def test_a_protocol_with_prompts_scores_samples_that_say_what_they_were_asked_with(
    tmp_path: Path, few: Path, capsys: Output
) -> None:
    real, samples, made = (tmp_path / name for name in ("real.npz", "samples.npz", "made.json"))
    cache = ["--cache", str(tmp_path / "cache")]
    main(["scenes", "--num", "60", "--split", "train", "--out", str(real)])
    asked = ["--prompts", str(few), "--images-per-prompt", "4"]
    main(["scenes", *asked, "--out", str(samples)])
    wanted = ["--extractor", "random-convolution", "--metrics", "following,following_held_out"]
    main(["protocol", "--reference", str(real), *wanted, *asked, "--json", str(made), *cache])
    capsys.readouterr()

    by_protocol = ["--protocol", str(made), "--reference", str(real), *cache]
    assert main(["score", str(samples), *by_protocol]) == 0
    printed = capsys.readouterr().out
    assert main(["score", str(real), *by_protocol]) == 2
    refused = capsys.readouterr().err

    assert json.loads(made.read_text())["protocol"]["prompts"] == {
        "digest": read_prompts(few.read_text()).digest(),
        "images_per_prompt": 4,
        "judge": "scenes-1",
    }
    assert re.search(r"^Following \u2191 +1 ", printed, re.MULTILINE)
    assert re.search(r"^Following, held out \u2191 +1 ", printed, re.MULTILINE)
    assert "expected 24 images, 4 of each prompt, got 60" in refused


def test_prompts_may_be_given_beside_a_bare_protocol(
    tmp_path: Path, few: Path, capsys: Output
) -> None:
    real, samples, bare = (tmp_path / name for name in ("real.npz", "samples.npz", "bare.json"))
    cache = ["--cache", str(tmp_path / "cache")]
    main(["scenes", "--num", "20", "--split", "train", "--out", str(real)])
    asked = ["--prompts", str(few), "--images-per-prompt", "4"]
    main(["scenes", *asked, "--out", str(samples)])
    wanted = ["--extractor", "random-convolution", "--metrics", "unparsed"]
    main(["protocol", "--reference", str(real), *wanted, *asked, "--json", str(bare), *cache])
    bare.write_text(json.dumps(json.loads(bare.read_text())["protocol"]))
    capsys.readouterr()

    score = ["score", str(samples), "--protocol", str(bare), "--reference", str(real), *cache]
    assert main([*score, "--prompts", str(few)]) == 0
    assert "Unparsed" in capsys.readouterr().out
    assert main(score) == 2
    assert "expected the prompts of digest" in capsys.readouterr().err
