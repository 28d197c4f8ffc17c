"""``python -m evaluation scenes``: what it writes is read as any set of images."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.imagesets.in_memory import read_images, read_parts
from evaluation.scenes.drawing import draw_scenes

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
