import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from generators import commands, training
from generators.__main__ import main
from generators.images import read_images, write_npz
from generators.registry import ALGORITHMS
from generators.training import TrainingResult
from tests.generators.conftest import make_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = make_data()
    write_npz(tmp_path / "data.npz", made.images, made.labels)
    return tmp_path / "data.npz"


TRAIN = ["train", "vae.conv", "--data", "{data}", "--out", "x"]
TINY_VAE = ["--set", "base_channels=8", "--set", "latent_dim=4", "--set", "batch_size=16"]


# --- list and help ------------------------------------------------------------------------------


def test_list_names_every_algorithm_with_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ALGORITHMS)
    assert lines[0].split() == ["gan.sngan", "GAN", "SNGAN"]


def test_list_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "diffusion.ddpm", "--json"]) == 0

    (record,) = json.loads(capsys.readouterr().out)
    assert record["family"] == "diffusion"
    assert list(record["samplers"]) == ["ddpm", "ddim", "dpmsolver++"]
    batch_size = record["config"][0]
    assert batch_size["name"] == "batch_size" and batch_size["default"] == 64


def test_list_of_one_algorithm_shows_options_with_defaults_and_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "vae.conv"]) == 0

    out = capsys.readouterr().out
    assert "(default: sigma; one of beta, sigma)" in out
    assert "vae.conv --sampler direct (default)" in out


@pytest.mark.parametrize("command", [[], ["list"], ["train"], ["sample"]])
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])

    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m generators")
    if command == ["train"]:
        assert "timesteps" in out and "(default: 1000; 2..10000)" in out
    if command == ["sample"]:
        assert "--batch-size" in out and "images drawn at once (default: 100)" in out


# --- train and sample ---------------------------------------------------------------------------


def test_a_trained_generator_is_sampled_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train = ["train", "vae.conv", "--data", str(data), "--out", str(out), "--images", "64"]
    assert main([*train, *TINY_VAE, "--threads", "1", "--device", "cpu", "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)

    sample = ["sample", str(out), "--out", str(tmp_path / "set.npz"), "--count", "7", "--json"]
    assert main([*sample, "--grid", str(tmp_path / "sheet.png"), "--set", "temperature=0.9"]) == 0
    sampled = json.loads(capsys.readouterr().out)

    assert trained["images_seen"] == 64 and not trained["stopped"]
    assert trained["checkpoint"]["path"] == str(out / "ckpt-64")
    assert sampled["checkpoint"] == str(out / "ckpt-64")
    assert sampled["sampler"] == {"name": "direct", "temperature": 0.9}
    assert sampled["nfe"] == 1
    found = read_images(tmp_path / "set.npz")
    assert found.pixels.shape == (7, 1, 8, 8)
    assert found.labels is not None and found.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (tmp_path / "sheet.png").stat().st_size > 100


def test_images_are_written_as_a_folder_of_png_with_one_folder_per_class(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = str(trained["gan.sngan"].checkpoint.path), tmp_path / "set"
    sample = ["sample", checkpoint, "--count", "3", "--seed", "5", "--label", "2"]

    assert main([*sample, "--out", str(folder), "--format", "png"]) == 0
    assert main([*sample, "--out", str(tmp_path / "set.npz")]) == 0

    assert sorted(path.name for path in (folder / "2").iterdir()) == [
        "000005.png",
        "000006.png",
        "000007.png",
    ]
    assert np.array_equal(read_images(folder).pixels, read_images(tmp_path / "set.npz").pixels)
    assert "set.npz: 3 images, NFE 1, " in capsys.readouterr().out


def test_a_sampler_is_chosen_by_name(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ["sample", str(trained["diffusion.ddpm"].checkpoint.path), "--count", "2", "--json"]
    sample += ["--out", str(tmp_path / "set.npz"), "--sampler", "dpmsolver++", "--set", "steps=3"]

    assert main(sample) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["nfe"] == 3
    assert record["sampler"] == {"name": "dpmsolver++", "steps": 3, "guidance": 1.0, "order": 2}


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["list", "gan.x"],
            "unknown algorithm 'gan.x', expected one of: gan.sngan, vae.conv, diffusion.ddpm",
        ),
        (
            [
                *TRAIN,
                "--images",
                "1",
                "--set",
                "beta",
            ],
            "--set: expected NAME=VALUE, got 'beta'",
        ),
        (
            [
                *TRAIN,
                "--images",
                "1",
                "--set",
                "bet=1",
            ],
            "bet: unknown field, did you mean 'beta'?",
        ),
        (
            [*TRAIN, "--images", "0"],
            "expected either images or device_seconds, above 0, got images=0, device_seconds=None",
        ),
        (
            ["train", "vae.conv", "--data", "nowhere", "--out", "x", "--images", "1"],
            "nowhere: there is no such file or folder",
        ),
        (
            [*TRAIN, "--seconds", "1", "--device", "tpu"],
            "--device: 'tpu' is not available here",
        ),
        (
            [*TRAIN, "--seconds", "1", "--threads", "0"],
            "--threads: expected at least 1, got 0",
        ),
        (
            ["sample", "{checkpoint}", "--out", "x.npz", "--count", "0"],
            "expected --count and --batch-size of at least 1",
        ),
        (
            ["sample", "{checkpoint}", "--out", "x.npz", "--sampler", "ddim"],
            "name: expected one of direct, got 'ddim'",
        ),
        (
            ["sample", "{checkpoint}", "--out", "x.npz", "--label", "3"],
            "expected labels in 0..2, got 3..3",
        ),
    ],
)
def test_what_is_wrong_is_said_on_stderr_with_exit_status_2(
    arguments: list[str],
    message: str,
    data: Path,
    trained: dict[str, TrainingResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"data": data, "checkpoint": trained["vae.conv"].checkpoint.path}

    status = main([argument.format(**names) for argument in arguments])

    captured = capsys.readouterr()
    assert status == 2
    assert captured.err == f"error: {message}\n"
    assert captured.out == ""


def test_the_module_runs_as_a_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "generators", "list", "nothing"], capture_output=True, text=True
    )

    assert found.returncode == 2
    assert found.stderr.startswith("error: unknown algorithm 'nothing'")


# --- interrupting -------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_saves_a_checkpoint_and_the_same_command_goes_on(
    number: signal.Signals,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = ["train", "vae.conv", "--data", str(data), "--out", str(tmp_path / "run")]
    train += ["--images", "64", *TINY_VAE, "--device", "cpu"]
    before = signal.getsignal(number)
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)

    reports: list[training.Progress] = []

    def interrupt_once(progress: training.Progress) -> str:
        reports.append(progress)
        if len(reports) == 1:
            signal.raise_signal(number)
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(training, "REPORT_SECONDS", 0.0)
        patch.setattr(commands, "_words", interrupt_once)
        interrupted = main(train)
    finished = main(train)

    assert (interrupted, finished) == (130, 0)
    assert signal.getsignal(number) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/run/ckpt-16: stopped, the same command goes on; ")
    assert lines[1].startswith(f"{tmp_path}/run/ckpt-64: done; 64 images seen, ")
