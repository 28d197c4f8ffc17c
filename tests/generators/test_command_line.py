import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.in_memory import read_images
from evaluation.imagesets.writing import write_npz
from generators.__main__ import main
from generators.commands import train as train_command
from generators.commands.arguments import build_parser
from generators.specs.options import describe
from generators.specs.registry import ALGORITHMS, FAMILIES
from generators.trained.labels import labels_by_share
from generators.training import loop as training
from generators.training.checkpoints import WEIGHTS, list_checkpoints
from generators.training.loop import TrainingResult
from generators.training.loss_log import LossLog
from tests.generators.conftest import TINY, make_data, train_tiny

COMMANDS = (
    "list",
    "train",
    "sample",
    "reconstruct",
    "trajectory",
    "interpolate",
    "noise",
    "measure",
    "export",
    "inspect",
)
TRAIN = ["train", "vae.conv", "--data", "{data}", "--out", "{out}"]
TINY_VAE = ["--set", "base_channels=8", "--set", "latent_dim=4", "--set", "batch_size=16"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = make_data()
    write_npz(tmp_path / "data.npz", made.images, made.labels)
    return tmp_path / "data.npz"


def tiny_options(algorithm: str) -> list[str]:
    """Return `--set` for everything in which the tiny configuration is not the default."""
    config = TINY[algorithm]
    found = []
    for field in describe(type(config)):
        value = getattr(config, field.name)
        if value != field.default:
            found += ["--set", f"{field.name}={value}"]
    return found


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


# --- list and help ------------------------------------------------------------------------------


def test_list_names_every_algorithm_with_its_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(ALGORITHMS)
    for line, spec in zip(lines, ALGORITHMS.values(), strict=True):
        assert line.split(maxsplit=2)[1:] == [FAMILIES[spec.family_name].label, spec.label]


def test_list_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "diffusion.ddpm", "--json"]) == 0

    (record,) = json.loads(capsys.readouterr().out)
    assert record["family"] == "diffusion"
    assert list(record["samplers"]) == list(ALGORITHMS["diffusion.ddpm"].samplers)
    assert set(record["presets"]) == {"tiny", "small", "paper"}
    assert record["presets"]["tiny"]["images"] > 0
    batch_size = record["config"][0]
    assert batch_size["name"] == "batch_size" and batch_size["default"] == 64


def test_list_of_one_algorithm_shows_options_with_defaults_and_limits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["list", "vae.conv"]) == 0

    out = capsys.readouterr().out
    assert "(default: 1e-08..1)" not in out and "; 1e-08..1)" in out
    assert "vae.conv --sampler direct (default)" in out
    assert "--preset tiny" in out and " images" in out


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])

    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {' '.join(['python -m generators', *command])}")
    if not command:
        assert all(f"    {name}" in out for name in COMMANDS)
    if command == ["train"]:
        assert "(default: 1000; 2..10000)" in out
        for spec in ALGORITHMS.values():
            assert f"  {spec.name}\n" in out
            assert all(f"    {field.name} " in out for field in describe(spec.config))
    if command == ["sample"]:
        for name, spec in ALGORITHMS.items():
            assert all(f"  {name} --sampler {sampler}" in out for sampler in spec.samplers)


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, generators.__main__; print('torch' in sys.modules, 'numpy' in sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == ["False", "False"]


def test_the_old_names_of_options_still_work() -> None:
    parse = build_parser().parse_args

    assert parse(["train", "x", "--data", "d", "--out", "o", "--images", "5"]).budget_images == 5
    assert parse(["train", "x", "--data", "d", "--out", "o", "--seconds", "5"]).budget_seconds == 5
    assert parse(["sample", "x", "--out", "o", "--count", "5"]).num == 5


# --- train and sample ---------------------------------------------------------------------------


def test_a_trained_generator_is_sampled_from_the_command_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train = ["train", "vae.conv", "--data", str(data), "--out", str(out), "--budget-images", "64"]
    train += [*TINY_VAE, "--checkpoint-at", "16,32", "--threads", "1", "--device", "cpu", "--json"]
    assert main(train) == 0
    first = capsys.readouterr()
    trained = json.loads(first.out)

    sample = ["sample", str(out), "--out", str(tmp_path / "set.npz"), "--num", "7", "--json"]
    sample += ["--seed", "4", "--grid", str(tmp_path / "sheet.png"), "--set", "temperature=0.9"]
    assert main(sample) == 0
    sampled = json.loads(capsys.readouterr().out)

    assert first.err.splitlines() == [
        f"{data}: 50 images, 8x8x1, 3 classes",
        f"{data}: it has no test part, so all of it is trained on (register_dataset would keep "
        "20 % of each class for one)",
    ]
    assert trained["images_seen"] == 64 and not trained["stopped"]
    assert trained["checkpoint"]["path"] == str(out / "ckpt-64")
    assert [path.name for path in list_checkpoints(out)] == ["ckpt-64", "ckpt-32", "ckpt-16"]
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert lines[-1]["images_seen"] == 64 and set(lines[-1]["losses"]) >= {"elbo"}
    assert sampled["images_seen"] == 64
    assert sampled["sampler"] == {"name": "direct", "temperature": 0.9}
    assert sampled["nfe"] == 1 and sampled["batch_size"] == 7
    assert 0 < sampled["latency_seconds"] <= sampled["latency_p95_seconds"]
    found = arrays_of(tmp_path / "set.npz")
    assert found["arr_0"].shape == (7, 8, 8, 1) and found["arr_0"].dtype == np.uint8
    counts = np.bincount(make_data().labels)
    assert found["labels"].tolist() == labels_by_share(7, counts.tolist()).tolist()
    assert found["seeds"].tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert (tmp_path / "sheet.png").stat().st_size > 100


def test_without_a_budget_it_is_the_presets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def run(algorithm: str, config: object, *_: object, **options: object) -> None:
        given.update(options, algorithm=algorithm, config=config)
        raise ValueError("enough")

    monkeypatch.setattr(train_command, "run_training", run)
    train = ["train", "diffusion.ddpm", "--data", "digits", "--preset", "tiny"]

    assert main([*train, "--out", str(tmp_path / "x"), "--set", "batch_size=32"]) == 2

    preset = ALGORITHMS["diffusion.ddpm"].presets["tiny"]
    assert given["budget"] == training.Budget(images=preset.images)
    assert getattr(given["config"], "batch_size") == 32  # noqa: B009  # an object's, for mypy
    assert given["classes"] == list("0123456789")


def test_images_are_written_as_a_folder_of_png_with_one_folder_per_class(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = str(trained["gan.sngan"].checkpoint.path), tmp_path / "set"
    sample = ["sample", checkpoint, "--num", "3", "--seed", "5", "--label", "2"]

    assert main([*sample, "--out", str(folder), "--format", "png"]) == 0
    assert main([*sample, "--out", str(tmp_path / "set.npz")]) == 0
    assert main([*sample, "--out", str(folder), "--format", "png"]) == 2

    names = sorted(path.name for path in (folder / "2").iterdir())
    assert names == ["000005.png", "000006.png", "000007.png"]
    assert np.array_equal(read_images(folder).pixels, read_images(tmp_path / "set.npz").pixels)
    out, err = capsys.readouterr()
    assert "set.npz: 3 images; NFE 1, " in out and "peak memory not measured on the CPU" in out
    assert err == f"error: --out: {folder} exists already, expected a new or an empty folder\n"


def test_a_sampler_is_chosen_by_name(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ["sample", str(trained["diffusion.ddpm"].checkpoint.path), "--num", "2", "--json"]
    sample += ["--out", str(tmp_path / "set.npz"), "--sampler", "ddim", "--steps", "3"]

    assert main([*sample, "--set", "eta=0.5"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["nfe"] == 3
    assert record["sampler"] == {"name": "ddim", "steps": 3, "guidance": 1.0, "eta": 0.5}


# --- looking into a model -----------------------------------------------------------------------


def test_a_walk_a_path_and_forward_noise_are_written(
    trained: dict[str, TrainingResult], data: Path, tmp_path: Path
) -> None:
    ddpm = str(trained["diffusion.ddpm"].checkpoint.path)
    walk = ["trajectory", ddpm, "--steps", "5", "--moments", "3", "--label", "1"]
    path = ["interpolate", ddpm, "--seeds", "1", "2", "--num", "4", "--steps", "3"]
    noise = ["noise", ddpm, "--data", str(data), "--num", "2", "--times", "0,1"]

    for name, arguments in (("walk", walk), ("path", path), ("noise", noise)):
        assert main([*arguments, "--out", str(tmp_path / f"{name}.npz")]) == 0
        assert main([*arguments, "--out", str(tmp_path / f"{name}.png")]) == 0
        assert (tmp_path / f"{name}.png").stat().st_size > 100

    found = arrays_of(tmp_path / "walk.npz")
    assert found["x"].shape == found["x_0"].shape == (3, 8, 8, 1)
    assert found["steps"].tolist() == [0, 2, 4] and found["arr_0"].shape == (1, 8, 8, 1)
    assert arrays_of(tmp_path / "path.npz")["arr_0"].shape == (4, 8, 8, 1)
    found = arrays_of(tmp_path / "noise.npz")
    assert found["noisy"].shape == (2, 2, 8, 8, 1) and found["times"].tolist() == [0, 1]
    assert np.allclose(found["noisy"][0], found["arr_0"] / 127.5 - 1, atol=1e-5)


def test_reconstructions_are_written_beside_their_originals(
    trained: dict[str, TrainingResult], data: Path, tmp_path: Path
) -> None:
    checkpoint = str(trained["vae.conv"].checkpoint.path)
    command = ["reconstruct", checkpoint, "--data", str(data), "--num", "10"]

    assert (
        main([*command, "--out", str(tmp_path / "x.npz"), "--grid", str(tmp_path / "x.png")]) == 0
    )

    found = arrays_of(tmp_path / "x.npz")
    every_fifth = make_data().images[::5].transpose(0, 2, 3, 1)
    assert np.array_equal(found["originals"], every_fifth)
    assert found["arr_0"].shape == (10, 8, 8, 1) and found["labels"].shape == (10,)
    assert (tmp_path / "x.png").stat().st_size > 100


def test_measurements_are_a_table_or_json(
    trained: dict[str, TrainingResult], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(trained["gan.sngan"].checkpoint.path)
    command = ["measure", checkpoint, "--data", str(data), "--num", "5"]

    assert main(command) == 0
    table = capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)

    assert "N/A psnr: SNGAN has no encoder" in table
    assert record["images"] == 5 and record["algorithm"] == "gan.sngan"
    assert {one["value"] for one in record["measurements"]} == {None}


def test_without_a_number_all_images_of_a_small_set_are_measured(
    trained: dict[str, TrainingResult], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(trained["gan.sngan"].checkpoint.path)

    assert main(["measure", checkpoint, "--data", str(data), "--json"]) == 0
    small = capsys.readouterr()
    assert main(["measure", checkpoint, "--data", "digits", "--part", "train", "--json"]) == 2
    unfit = capsys.readouterr().err

    assert json.loads(small.out)["images"] == 50
    assert small.err == (
        f"{data}: it has no parts, so images that were trained on may be among these\n"
    )
    assert unfit == "error: expected labels in 0..2, got 0..9\n"


def test_a_checkpoint_is_exported(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["export", str(trained["gan.sngan"].checkpoint.path), "--out", str(tmp_path / "x")]

    assert main([*export, "--format", "diffusers"]) == 2
    assert main([*export, "--format", "safetensors"]) == 0

    out, err = capsys.readouterr()
    assert err.startswith("error: diffusers has no pipeline for gan.sngan, only for ")
    assert "load with safetensors.torch.load_file('" in out
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == ["config.json", "model.safetensors"]


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "gan.x"], "unknown algorithm 'gan.x', expected one of: gan."),
        (["train", "gan.x", "--data", "digits", "--out", "{out}"], "unknown algorithm 'gan.x', "),
        (["train", "vae.conv"], "the following arguments are required: --data, --out (see "),
        ([*TRAIN], "expected --budget-images, --budget-seconds or --preset (for its budget)"),
        ([*TRAIN, "--preset", "huge"], "preset: expected one of tiny, small, paper, got 'huge'"),
        ([*TRAIN, "--budget-images", "9", "--set", "beta"], "--set: expected NAME=VALUE, got 'be"),
        ([*TRAIN, "--budget-images", "9", "--set", "bet=1"], "bet: unknown field, did you mean "),
        (
            [*TRAIN, "--budget-images", "9", "--set", "beta=1", "--set", "beta=2"],
            "--set: beta is set twice",
        ),
        (
            [*TRAIN, "--budget-images", "9", "--set", "learning_rate=9"],
            "learning_rate: expected a number in 1e-08..1, got '9'",
        ),
        (
            [*TRAIN, "--budget-images", "-5"],
            "--budget-images: expected a whole number from 1, got '-5' (see python -m generators "
            "train --help)",
        ),
        ([*TRAIN, "--budget-seconds", "0"], "--budget-seconds: expected a number above 0, got '0'"),
        (
            [*TRAIN, "--budget-seconds", "1", "--budget-images", "1"],
            "--budget-images: not allowed with argument --budget-seconds",
        ),
        ([*TRAIN, "--budget-seconds", "1", "--device", "tpu"], "--device: 'tpu' is not available"),
        ([*TRAIN, "--budget-seconds", "1", "--threads", "0"], "--threads: expected a whole number"),
        ([*TRAIN, "--budget-images", "9", "--resume"], "--resume: {out} holds no checkpoint to go"),
        (
            [*TRAIN, "--budget-images", "9", "--checkpoint-at", "5,10"],
            "--checkpoint-at: expected at most the budget's 9 images, got 10",
        ),
        (
            [*TRAIN, "--budget-images", "9", "--initial", "{out}"],
            "{out}: expected a folder with a checkpoint, found nothing there",
        ),
        (
            ["train", "vae.conv", "--data", "nowhere", "--out", "{out}", "--budget-images", "1"],
            "nowhere: does not exist; expected a folder, ",
        ),
        (
            ["train", "vae.conv", "--data", "{data}", "--out", "{data}", "--budget-images", "1"],
            "--out: {data} is a file, expected a folder",
        ),
        (["sample", "{out}", "--out", "x.npz"], "{out}: expected a folder with a checkpoint, fou"),
        (["sample", "{data}", "--out", "x.npz"], "{data}: expected a folder with a checkpoint, f"),
        (["sample", "{folder}", "--out", "x.npz"], "{folder}: holds no checkpoint"),
        (["sample", "{vae}", "--out", "x.npz", "--num", "0"], "--num: expected a whole number fro"),
        (
            ["sample", "{vae}", "--out", "x.jpg"],
            "--out: expected the name of a .npz file, got 'x.jpg'",
        ),
        (
            ["sample", "{vae}", "--out", "{folder}"],
            "--out: expected the name of a .npz file, got a folder",
        ),
        (
            ["sample", "{vae}", "--out", "{data}/x.npz"],
            "--out: {data} is a file, expected a folder",
        ),
        (
            ["sample", "{vae}", "--out", "x.npz", "--sampler", "ddim"],
            "--sampler: expected one of direct",
        ),
        (
            ["sample", "{vae}", "--out", "x.npz", "--steps", "5"],
            "steps: unknown field, expected on",
        ),
        (
            ["sample", "{ddpm}", "--out", "x.npz", "--steps", "5", "--set", "steps=6"],
            "--steps: expected either --steps or --set steps=…, got both",
        ),
        (
            ["sample", "{ddpm}", "--out", "x.npz", "--steps", "50"],
            "steps: expected at most the model's 40 timesteps, got 50",
        ),
        (
            ["sample", "{vae}", "--out", "x.npz", "--seed", "9223372036854775808"],
            "--seed: expected a whole number from 0 to 4611686018427387903, got '92233720368547758",
        ),
        (
            [*TRAIN, "--budget-images", "9", "--seed", "-1"],
            "--seed: expected a whole number from 0, got '-1'",
        ),
        (
            ["train", "vae.conv", "--data", "{large}", "--out", "{out}", "--budget-images", "1"],
            "--data: expected sides of 8 to 256 pixels, got 257x257; --resolution fits images to a ",
        ),
        (
            ["measure", "{vae}", "--data", "{data}", "--part", "test"],
            "--part: {data} has no parts, so that all of it was trained on; ",
        ),
        (["sample", "{vae}", "--out", "x.npz", "--label", "3"], "--label: expected 0..2, got 3"),
        (
            ["sample", "{vae}", "--out", "x.npz", "--label", "1", "--labels", "uniform"],
            "--labels: not allowed with argument --label",
        ),
        (
            ["sample", "{vae}", "--out", "x.npz", "--labels", "evenly"],
            "--labels: expected training, uniform or a whole number for each class, as in 7,2,1; ",
        ),
        (
            ["sample", "{vae}", "--out", "x.npz", "--labels", "1,2"],
            "--labels: expected a share for each of 3 classes, one above 0; got 1,2",
        ),
        (["sample", "{vae}", "--out", "x.npz", "--label", "-1"], "--label: expected a whole numbe"),
        (
            ["reconstruct", "{gan}", "--data", "{data}", "--num", "5", "--out", "x.npz"],
            "SNGAN has no encoder",
        ),
        (
            ["reconstruct", "{vae}", "--data", "{data}", "--num", "51", "--out", "x.npz"],
            "--num: expected at most the data's 50 images",
        ),
        (
            ["reconstruct", "{vae}", "--data", "{wide}", "--num", "1", "--out", "x.npz"],
            "expected images of 1x8x8 (channels, height, width), got 1x12x12",
        ),
        (
            ["reconstruct", "{vae}", "--data", "{bare}", "--num", "1", "--out", "x.npz"],
            "--data: {bare} has no labels, and the generator needs them",
        ),
        (["trajectory", "{gan}", "--out", "x.png"], "gan.sngan walks in no steps with the sampler"),
        (
            ["trajectory", "{ddpm}", "--out", "x.gif"],
            "--out: expected the name of a .npz or .png file, got 'x.gif'",
        ),
        (
            ["interpolate", "{gan}", "--seeds", "1", "--out", "x.png"],
            "--seeds: expected 2 argument",
        ),
        (
            ["interpolate", "{gan}", "--seeds", "1", "2", "--num", "1", "--out", "x.png"],
            "expected at least 2 images, got 1",
        ),
        (["noise", "{gan}", "--data", "{data}", "--out", "x.png"], "SNGAN has no forward process"),
        (
            ["noise", "{ddpm}", "--data", "{data}", "--times", "0,2", "--out", "x.png"],
            "--times: expected numbers in 0..1, got '2'",
        ),
        (
            ["export", "{gan}", "--format", "safetensors", "--label", "1", "--out", "x"],
            "--label: expected with --format diffusers alone",
        ),
        (
            ["export", "{ddpm}", "--format", "onnx", "--out", "x"],
            "--format: invalid choice: 'onnx'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_exit_status_2(
    arguments: list[str],
    message: str,
    data: Path,
    trained: dict[str, TrainingResult],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    wide = make_data(side=12)
    write_npz(tmp_path / "wide.npz", wide.images, wide.labels)
    large = make_data(2, side=257)
    write_npz(tmp_path / "large.npz", large.images, large.labels)
    write_npz(tmp_path / "bare.npz", make_data().images, None)
    before = set(tmp_path.rglob("*"))
    names = {
        "data": data,
        "out": tmp_path / "out",
        "folder": tmp_path / "folder",
        "wide": tmp_path / "wide.npz",
        "large": tmp_path / "large.npz",
        "bare": tmp_path / "bare.npz",
        "gan": trained["gan.sngan"].checkpoint.path,
        "vae": trained["vae.conv"].checkpoint.path,
        "ddpm": trained["diffusion.ddpm"].checkpoint.path,
    }

    status = main([argument.format(**names) for argument in arguments])

    captured = capsys.readouterr()
    assert status == 2
    *notices, error = captured.err.splitlines()
    assert error.startswith(f"error: {message.format(**names)}")
    assert all(notice.startswith(str(tmp_path)) for notice in notices)  # of what was read
    assert captured.out == ""
    assert set(tmp_path.rglob("*")) == before


def test_another_training_in_the_folder_is_refused_with_what_differs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = [text.format(data=data, out=tmp_path / "run") for text in TRAIN]
    train += ["--budget-images", "32", "--device", "cpu", *TINY_VAE]
    assert main(train) == 0
    weights = sha256_of(tmp_path / "run" / "ckpt-32" / WEIGHTS)
    losses = (tmp_path / "run" / "losses.jsonl").read_bytes()

    assert main([*train, "--set", "beta=2"]) == 2
    assert main([*train, "--resume"]) == 0  # complete already

    error = capsys.readouterr().err
    assert (
        "belongs to another training: expected config {'beta': 2.0}, found {'beta': 1.0}" in error
    )
    assert sha256_of(tmp_path / "run" / "ckpt-32" / WEIGHTS) == weights
    assert (tmp_path / "run" / "losses.jsonl").read_bytes() == losses


def test_a_training_does_not_go_on_with_other_images(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = [text.format(data=data, out=tmp_path / "run") for text in TRAIN]
    train += ["--budget-images", "32", "--device", "cpu", *TINY_VAE]
    assert main(train) == 0
    made = make_data(seed=1)
    write_npz(data, made.images, made.labels)

    assert main(train) == 2

    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {tmp_path}/run/ckpt-32 belongs to another training: ")
    assert error.endswith(
        "; --data holds other images, labels or captions than this training began with"
    )


def test_a_diverged_training_has_an_exit_status_of_its_own(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise training.Diverged("loss 'elbo' is nan after 48 images")

    monkeypatch.setattr(train_command, "run_training", diverge)
    (tmp_path / "run" / "ckpt-16").mkdir(parents=True)
    train = [text.format(data=data, out=tmp_path / "run") for text in TRAIN]

    assert main([*train, "--budget-images", "64"]) == 3

    expected = (
        f"diverged: loss 'elbo' is nan after 48 images; {tmp_path}/run/ckpt-16 is from before\n"
    )
    assert capsys.readouterr().err.endswith(f"\n{expected}")


def test_the_module_runs_as_a_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "generators", "list", "nothing"], capture_output=True, text=True
    )

    assert found.returncode == 2
    assert found.stderr.startswith("error: unknown algorithm 'nothing'")


# --- interrupting -------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_saves_a_checkpoint_and_the_same_command_goes_on(
    number: signal.Signals,
    status: int,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = [text.format(data=data, out=tmp_path / "run") for text in TRAIN]
    train += ["--budget-images", "64", *TINY_VAE, "--device", "cpu"]
    before = signal.getsignal(number)
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    asked: list[bool] = []

    def interrupt_once(*_: object) -> None:
        if not asked:
            asked.append(True)
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(training, "REPORT_SECONDS", 0.0)
        patch.setattr(LossLog, "add", interrupt_once)
        interrupted = main(train)
    finished = main([*train, "--resume"])

    assert (interrupted, finished) == (status, 0)
    assert signal.getsignal(number) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path}/run/ckpt-16: stopped, the same command goes on; ")
    assert lines[1].startswith(f"{tmp_path}/run/ckpt-64: done; 64 images seen, ")


KILLED_AT_STEP_14 = """
import itertools, os, signal, sys
from generators.training import steps
from generators.__main__ import main

count, step = itertools.count(), steps.Training.step

def step_or_die(self):
    if next(count) == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self)

steps.Training.step = step_or_die
main(sys.argv[1:])
"""


# whose parts follow each other; a worker of a GAN is killed among the faults; the others are slow
NOW = ("latent.edm",)


@pytest.mark.parametrize(
    "algorithm",
    [pytest.param(name, marks=[] if name in NOW else pytest.mark.slow) for name in ALGORITHMS],
)
def test_a_training_that_was_killed_ends_with_the_same_bits(
    algorithm: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    train = ["train", algorithm, "--data", str(data), "--out", str(out), "--device", "cpu"]
    train += ["--budget-images", "320", "--threads", "1", "--checkpoint-at", "160"]
    train += tiny_options(algorithm)

    killed = subprocess.run([sys.executable, "-c", KILLED_AT_STEP_14, *train])
    left = [path.name for path in list_checkpoints(out)]
    resumed = main([*train, "--resume"])

    whole = train_tiny(algorithm, tmp_path / "whole", images=320)
    assert (killed.returncode, left, resumed) == (-signal.SIGKILL, ["ckpt-160"], 0)
    assert sha256_of(out / "ckpt-320" / WEIGHTS) == sha256_of(whole.checkpoint.path / WEIGHTS)
    lines = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    seen = [line["images_seen"] for line in lines]
    assert seen == sorted(set(seen)) and seen[-1] == 320


@pytest.mark.slow  # test_parallel.py trains in two processes
def test_several_processes_train_together_and_only_the_first_speaks(
    data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    train = ["train", "vae.conv", "--data", str(data), "--out", str(out), "--device", "cpu"]
    train += ["--budget-images", "64", *TINY_VAE, "--json"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]

    found = subprocess.run(
        [sys.executable, *torchrun, "generators", *train],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["images_seen"] == 64
    lines = (out / "losses.jsonl").read_text().splitlines()
    assert [json.loads(line)["images_seen"] for line in lines][-1] == 64
    assert len(lines) == len(set(lines))
