"""Pipelines from the command line: what a folder is, and images of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generators.__main__ import main
from tests.generators.pipelines import tiny
from tests.generators.pipelines.conftest import Copy

Find = Callable[[str], Path]


def test_a_folder_is_inspected(folder_of: Find, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(folder_of("dit"))

    assert main(["inspect", folder]) == 0
    out = capsys.readouterr().out
    assert out.startswith("DiTPipeline: asked by classes, 32 x 32 pixels, 69,479 parameters\n")
    assert "licence: not said" in out and "DiTTransformer2DModel" in out

    assert main(["inspect", folder, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["pipeline"], record["num_classes"]) == ("DiTPipeline", 1000)
    assert record["problems"] == [] and len(record["digest"]) == 64


def test_what_would_be_refused_is_said(copied: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("ddpm")
    (folder / "mine.py").touch()

    assert main(["inspect", str(folder)]) == 2
    assert "refused: mine.py: expected no code" in capsys.readouterr().out
    assert main(["inspect", str(folder / "unet")]) == 2
    assert "model_index.json, found none" in capsys.readouterr().out


def test_images_of_prompts_are_written_with_their_prompts(
    folder_of: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, prompts = tmp_path / "set.npz", tmp_path / "prompts.txt"
    prompts.write_text("a red circle\na blue square\n")
    command = ["sample", str(folder_of("stable_diffusion")), "--out", str(out), "--num", "3"]
    command += ["--prompts", str(prompts), "--seed", "4", "--json", "--device", "cpu"]
    command += ["--sampler", "DDIMScheduler", "--steps", "2", "--set", "guidance=3"]

    assert main(command) == 0
    record = json.loads(capsys.readouterr().out)

    with np.load(out) as arrays:
        assert arrays["arr_0"].shape == (3, 32, 32, 3)
        assert arrays["captions"].tolist() == ["a red circle", "a blue square", "a red circle"]
        assert arrays["seeds"].tolist() == [4, 5, 6]
    assert record["nfe"] == 4 and record["blackened"] is None and record["cut"] == {}
    assert record["sampler"]["scheduler"] == "DDIMScheduler"
    assert record["sampler"]["guidance"] == 3 and record["loaded"]["precision"] == "float32"


def test_images_of_classes_are_written_with_their_labels(
    folder_of: Find, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set.npz"
    command = ["sample", str(folder_of("classed_consistency")), "--out", str(out), "--num", "6"]

    assert main([*command, "--steps", "2"]) == 0
    with np.load(out) as arrays:
        assert sorted(set(arrays["labels"].tolist())) == [0, 1, 2, 3, 4]
    assert main([*command, "--label", "2"]) == 0
    with np.load(out) as arrays:
        assert arrays["labels"].tolist() == [2] * 6
    assert "NFE 1, " in capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "x"], "--prompt: DDPMPipeline is asked by nothing"),
        (["--label", "1"], "--label: DDPMPipeline is asked by nothing"),
        (["--sampler", "Mine"], "scheduler: expected one of own, "),
        (["--steps", "101"], "steps: expected at most the schedule's 100, got 101"),
        (
            ["--set", "precison=float32"],
            "--set: precison: unknown field, did you mean 'precision'?",
        ),
        (["--set", "precision=float16", "--device", "cpu"], "precision: expected float32 or bfl"),
        (["--steps", "2", "--set", "steps=3"], "--set: steps is set twice"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    options: list[str],
    message: str,
    folder_of: Find,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command: list[Any] = ["sample", str(folder_of("ddpm")), "--out", str(tmp_path / "set.npz")]

    assert main([*command, *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}") and captured.err.count("\n") == 1
    assert not (tmp_path / "set.npz").exists()


def test_blackened_images_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    folder = tiny.stable_diffusion(tmp_path / "checked", -1.0)
    command = ["sample", str(folder), "--out", str(tmp_path / "set.npz"), "--num", "2"]

    assert main([*command, "--prompt", "x", "--steps", "1"]) == 0

    assert "; 2 blackened by the safety checker" in capsys.readouterr().out


def test_a_revision_that_can_move_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["sample", "us/tiny", "--revision", "main", "--out", str(tmp_path / "set.npz")]

    assert main(command) == 2

    assert capsys.readouterr().err == (
        "error: us/tiny: expected a revision of 40 hex digits, since branches and tags move; got "
        "'main'\n"
    )
