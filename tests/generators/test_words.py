"""Models of every family that learn captions: what they keep, obey and refuse."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d import UNet2DModel

from evaluation.imagesets.in_memory import read_images, write_npz
from generators.__main__ import main
from generators.algorithm.conditioning import ConditionEncoder
from generators.algorithm.contract import build_algorithm
from generators.algorithm.noise import NoiseSource
from generators.diffusion.denoiser import Denoiser
from generators.diffusion.flow import Flow
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError, TrainingConfig
from generators.specs.registry import get_spec, parse_sampler
from generators.trained.export import export_diffusers
from generators.trained.inspection import interpolate, reconstruct
from generators.trained.measure import measure
from generators.trained.sampling import LoadedGenerator, draw, draw_all, load_generator
from generators.training import loop as training
from generators.training.checkpoints import read_manifest
from generators.training.loop import Budget, TrainingResult, train
from tests.generators.conftest import TINY, exactly, make_data
from tests.generators.test_conformance import weights_of
from tests.toy_vae.model import ToyVAE
from tests.toy_vae.spec import ToyConfig

DIT = {"backbone": "dit", "base_channels": 16, "residual_blocks": 2, "patch": 2, "dropout": 0.0}
ATTENDING = {"cross_attention": True}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "U-Net": ("diffusion.flow", {}),
    "U-Net that attends": ("diffusion.flow", ATTENDING),
    "transformer that attends": ("diffusion.flow", {**DIT, **ATTENDING}),
    "ddpm": ("diffusion.ddpm", ATTENDING),
    "dcgan": ("gan.dcgan", {}),
    "sngan": ("gan.sngan", {}),
    "conv": ("vae.conv", {}),
    "vq": ("vae.vq", {}),
    "hierarchical": ("vae.hierarchical", {}),
    "latent": ("latent.flow", {"adaptive_norm": True}),
}
CAPTIONS = ("bright above", "bright below, dark above!", "Dark")  # of the three classes
PROMPTS = ["bright below", "dark", "above", "dark above", "BRIGHT above"]

every_model = pytest.mark.parametrize("name", list(MODELS))


def config_of(name: str) -> TrainingConfig:
    algorithm, changes = MODELS[name]
    return replace(TINY[algorithm], **changes)


def captions_of(count: int = 50) -> list[str]:
    return [CAPTIONS[label] for label in make_data(count).labels]


def train_words(
    name: str, directory: Path, *, captions: Any = None, images: int = 64, **options: Any
) -> TrainingResult:
    data = _data(directory, images)
    data |= {} if captions is None else {"captions": captions}
    return train(MODELS[name][0], config_of(name), **data, **options)


def _data(directory: Path, images: int) -> dict[str, Any]:
    return {
        "images": make_data().images,
        "labels": None,
        "num_classes": 0,
        "captions": captions_of(),
        "directory": directory,
        "budget": Budget(images=images),
        "device": "cpu",
        "seed": 0,
    }


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedGenerator]:
    """Return what loads a model that has learned captions; each is trained once."""
    return each_once(train_words, tmp_path_factory.mktemp("worded"))


def each_once(
    train_one: Callable[[str, Path], TrainingResult], folder: Path
) -> Callable[[str], LoadedGenerator]:
    """Return what loads a model by its name, trained when it is first asked for."""
    results = dict[str, TrainingResult]()

    def loaded(name: str) -> LoadedGenerator:
        if name not in results:
            results[name] = train_one(name, folder / name)
        return load_generator(results[name].checkpoint.path)

    return loaded


def drawn(
    generator: LoadedGenerator, prompts: list[str], *, batch_size: int = 9, first: int = 0
) -> np.ndarray:
    sampler = parse_sampler(generator.algorithm, {})
    if hasattr(sampler, "steps"):
        sampler = replace(sampler, steps=3)  # type: ignore[call-arg]  # it has steps
    seeds = range(first, first + len(prompts))
    batches = draw(generator, sampler, seeds=seeds, captions=prompts, batch_size=batch_size)
    return np.concatenate(list(batches)).astype(int)


# --- every family -------------------------------------------------------------------------------


@every_model
def test_an_image_depends_on_its_seed_and_prompt_alone(
    name: str, worded: Callable[[str], LoadedGenerator]
) -> None:
    generator = worded(name)

    together = drawn(generator, PROMPTS)

    assert together.shape == (5, 1, 8, 8)
    assert together.min() >= 0 and together.max() <= 255
    assert np.abs(drawn(generator, PROMPTS, batch_size=2) - together).max() <= 1
    assert np.abs(drawn(generator, PROMPTS[3:4], first=3) - together[3:4]).max() <= 1


@every_model
def test_a_checkpoint_holds_the_words(name: str, worded: Callable[[str], LoadedGenerator]) -> None:
    generator = worded(name)

    assert generator.conditions == Conditions(words=("above", "below", "bright", "dark"), length=4)
    assert generator.num_classes == 0 and generator.class_counts is None
    assert generator.config == config_of(name)
    assert np.array_equal(drawn(generator, PROMPTS), drawn(worded(name), PROMPTS))


@every_model
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    whole, polls = train_words(name, tmp_path / "whole"), itertools.count()

    train_words(name, tmp_path / "parts", should_stop=lambda: next(polls) >= 2)
    resumed = train_words(name, tmp_path / "parts")

    assert resumed.resume == "exact"
    assert weights_of(resumed) == weights_of(whole)


@every_model
def test_what_is_asked_for_reaches_the_image(name: str) -> None:
    conditions = Conditions.of_captions(CAPTIONS)
    algorithm = MODELS[name][0]
    model = build_algorithm(
        algorithm, config_of(name), shape=(1, 8, 8), conditions=conditions, seed=0
    )
    torch.manual_seed(1)
    for network in model.networks.values():
        for parameter in network.eval().parameters():  # awake, as after a training
            torch.nn.init.normal_(parameter, std=1.0 if name == "vq" else 0.3)
    sampler = parse_sampler(algorithm, {})
    if hasattr(sampler, "steps"):
        sampler = replace(sampler, steps=2)  # type: ignore[call-arg]  # it has steps

    def images(caption: str) -> torch.Tensor:
        rows = torch.tensor([conditions.row(caption)] * 8)
        with torch.inference_mode():
            return model.sample(model.networks, rows, NoiseSource(range(8)), sampler)

    assert torch.equal(images("bright above"), images("Bright  above."))
    assert not torch.allclose(images("bright above"), images("bright below"), atol=1e-4)


# --- words --------------------------------------------------------------------------------------


def test_what_pads_a_row_changes_nothing_and_the_order_of_words_something() -> None:
    torch.manual_seed(0)
    conditions = Conditions.of_captions(["dark above bright below", "a b"])
    encoder = ConditionEncoder(conditions)
    rows = torch.tensor([*conditions.rows(["dark above", "above dark"]), conditions.none])

    before = encoder(rows)
    with torch.no_grad():
        encoder.words.tokens.weight[0].normal_()  # type: ignore[union-attr,index]  # it has words
    after = encoder(rows)

    assert torch.equal(before.pooled[:2], after.pooled[:2])
    assert not torch.allclose(before.pooled[2], after.pooled[2], atol=1e-3)
    assert (before.pooled[0] - before.pooled[1]).abs().max() > 1e-3
    assert before.mask.tolist() == [[True, True, False, False]] * 2 + [[True, False, False, False]]


@pytest.mark.parametrize("name", ["U-Net that attends", "transformer that attends"])
def test_places_attend_to_words_besides_what_all_say_together(name: str) -> None:
    torch.manual_seed(0)
    conditions, config = Conditions.of_captions(CAPTIONS), config_of(name)
    denoiser = Denoiser(config, (1, 8, 8), conditions).eval()  # type: ignore[arg-type]  # flow's
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([300.0, 300.0])
    rows = torch.tensor(conditions.rows(["bright above", "dark above"]))
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    together = denoiser.told if denoiser.dit is None else denoiser.dit.label
    assert together is not None
    for parameter in together.parameters():
        torch.nn.init.zeros_(parameter)

    with torch.inference_mode():
        first, second = denoiser(x, t, rows), denoiser(x, t, rows.flip(0))

    assert (first - second).abs().amax((1, 2, 3)).min() > 1e-4


def test_without_cross_attention_the_unet_is_the_one_it_always_was() -> None:
    denoiser = Denoiser(config_of("U-Net"), (1, 8, 8), Conditions.of_classes(3))  # type: ignore[arg-type]  # flow's

    assert denoiser.unet is not None and type(denoiser.unet) is UNet2DModel
    assert denoiser.unet.config["num_class_embeds"] == 4
    assert not any(key.startswith(("condition", "told")) for key in denoiser.state_dict())


@pytest.mark.parametrize("conditions", [Conditions(), Conditions.of_classes(3)])
def test_cross_attention_needs_captions(conditions: Conditions) -> None:
    message = exactly("cross_attention: expected false: there are no captions")

    with pytest.raises(ConfigError, match=message):
        Denoiser(config_of("U-Net that attends"), (1, 8, 8), conditions)  # type: ignore[arg-type]  # flow's


@pytest.mark.parametrize("name", ["U-Net", "U-Net that attends", "transformer that attends"])
def test_guidance_of_1_is_the_conditional_model_and_of_0_the_unconditional_one(
    name: str, worded: Callable[[str], LoadedGenerator]
) -> None:
    generator = worded(name)
    model, denoiser = generator.model, generator.averages["denoiser"]
    assert isinstance(model, Flow)
    rows = torch.tensor(generator.conditions.rows(PROMPTS[:3]))
    nothing = torch.tensor([generator.conditions.none] * 3)
    x, t = torch.randn(3, 1, 8, 8), torch.full((3,), 500.0)

    with torch.inference_mode():
        told, free = denoiser(x, t, rows), denoiser(x, t, nothing)
        by_guidance = {w: model.velocity(denoiser, x, 0.5, rows, w) for w in (0.0, 1.0, 3.0)}

    assert (told - free).abs().max() > 1e-6
    assert torch.equal(by_guidance[1.0], told)
    assert torch.allclose(by_guidance[0.0], free, atol=1e-6)
    assert torch.allclose(by_guidance[3.0], free + 3 * (told - free), atol=1e-5)


def test_an_algorithm_that_obeys_no_words_says_so() -> None:
    with pytest.raises(ValueError, match="expected classes or nothing: ToyVAE obeys no words"):
        ToyVAE(ToyConfig(), shape=(1, 8, 8), conditions=Conditions.of_captions(CAPTIONS))


def test_images_with_captions_are_reconstructed_measured_and_interpolated(
    worded: Callable[[str], LoadedGenerator],
) -> None:
    generator, images = worded("conv"), make_data(6).images

    found = reconstruct(generator, images, captions_of(6))
    numbers = {one.name: one.value for one in measure(generator, images, captions_of(6))}
    sampler = parse_sampler("vae.conv", {"name": "gmm"})
    between = interpolate(generator, sampler, first=1, second=2, count=3, label="dark above")

    assert found.shape == (6, 1, 8, 8)
    assert numbers["bits_per_dimension/elbo"] is not None and numbers["psnr"] is not None
    assert between.shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match=exactly("expected 6 captions, got none")):
        reconstruct(generator, images, None)


def test_a_prompts_pipeline_is_exported(
    worded: Callable[[str], LoadedGenerator], tmp_path: Path
) -> None:
    exported = export_diffusers(worded("U-Net"), tmp_path / "dark", label="dark", steps=3)

    config = json.loads((exported.path / "unet" / "config.json").read_text())
    assert config["class_embed_type"] is None
    with pytest.raises(ValueError, match="diffusers has no pipeline for images and words"):
        export_diffusers(worded("U-Net that attends"), tmp_path / "attending", label="dark")


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda captions: captions[:-1], "expected a caption for each of 50 images, got 49"),
        (lambda captions: [*captions[:-1], ""], "caption 49: expected words, got ''"),
        (lambda captions: [*captions[:-1], None], "caption 49: expected text, got None"),
        (
            lambda captions: ["x" * 5000, *captions[1:]],
            "caption 0: expected at most 1,000 characters, got 5,000",
        ),
    ],
)
def test_captions_that_do_not_fit_are_refused_and_nothing_is_written(
    change: Callable[[list[str]], Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        train_words("conv", tmp_path / "run", captions=change(captions_of()))

    assert not (tmp_path / "run").exists()


def test_classes_and_captions_together_are_refused(tmp_path: Path) -> None:
    both = {**_data(tmp_path, 16), "labels": make_data().labels, "num_classes": 3}

    with pytest.raises(ValueError, match=exactly("expected 3 classes or captions, got both")):
        train("vae.conv", TINY["vae.conv"], **both)


def test_a_training_does_not_go_on_with_other_captions_or_words(tmp_path: Path) -> None:
    train_words("conv", tmp_path / "conv", images=16)
    others = [caption.replace("bright", "white") for caption in captions_of()]
    words = "expected conditions {'words': ['white']}, found {'words': ['bright']}"

    with pytest.raises(ValueError, match=re.escape(words)):
        train_words("conv", tmp_path / "conv", captions=others, images=16)
    with pytest.raises(ValueError, match="expected data_sha256"):
        train_words("conv", tmp_path / "conv", captions=captions_of()[::-1], images=16)
    initial = tmp_path / "conv" / "ckpt-16"
    with pytest.raises(ValueError, match="expected the same words, of which differ bright, white"):
        train_words("conv", tmp_path / "other", captions=others, images=16, initial=initial)


def test_an_option_that_came_later_is_the_same_at_its_default_whether_or_not_it_is_spelt_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    polls = itertools.count()
    stopped = train_words("U-Net", tmp_path, images=48, should_stop=lambda: next(polls) >= 1)
    file = stopped.checkpoint.path / "manifest.json"
    manifest = json.loads(file.read_text("utf-8"))

    assert "cross_attention" not in manifest["config"]
    manifest["config"]["cross_attention"] = False
    file.write_text(json.dumps(manifest), "utf-8")
    message = r"expected config \{'cross_attention': True\}, found \{'cross_attention': False\}"
    with pytest.raises(ValueError, match=message):
        train("diffusion.flow", config_of("U-Net that attends"), **_data(tmp_path, 48))
    assert train_words("U-Net", tmp_path, images=48).resume == "exact"


def test_a_model_may_be_told_nothing_of_captions(tmp_path: Path) -> None:
    config = replace(TINY["vae.conv"], conditional=False)

    result = train("vae.conv", config, **_data(tmp_path, 16))

    assert "conditions" not in read_manifest(result.checkpoint.path)
    assert load_generator(result.checkpoint.path).conditions == Conditions()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "expected 2 captions, got none"),
        ({"captions": ["dark"]}, "expected 2 captions, got 1"),
        ({"labels": np.array([0, 1])}, "expected 2 captions, got 2 labels"),
        ({"labels": np.array([0, 1]), "captions": PROMPTS[:2]}, "labels or captions, got both"),
        ({"captions": ["dark", "a dark square"]}, "caption 1: expected words that the model was "),
        ({"captions": ["dark", "green"]}, "it does not know 'green'"),
    ],
)
def test_what_a_model_of_words_cannot_draw_is_refused(
    asked: dict[str, Any], message: str, worded: Callable[[str], LoadedGenerator]
) -> None:
    sampler = get_spec("vae.conv").samplers["direct"]()

    with pytest.raises(ValueError, match=message):
        draw_all(worded("conv"), sampler, seeds=[1, 2], batch_size=2, **asked)


def test_models_of_classes_and_of_nothing_take_no_captions(
    trained: dict[str, TrainingResult],
) -> None:
    generator = load_generator(trained["vae.conv"].checkpoint.path)
    sampler = get_spec("vae.conv").samplers["direct"]()

    with pytest.raises(ValueError, match="the generator knows classes and no words"):
        draw_all(generator, sampler, seeds=[1], captions=["dark"], batch_size=1)


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with captioned images, `data.npz`, and a training on them, `run`."""
    path = tmp_path_factory.mktemp("commands")
    write_npz(path / "data.npz", make_data().images, None, captions=captions_of())
    sets = ["--set", "base_channels=8", "--set", "latent_dim=4", "--set", "batch_size=16"]
    data = ["--data", str(path / "data.npz"), "--budget-images", "32", "--out", str(path / "run")]
    assert main(["train", "vae.conv", *data, *sets, "--device", "cpu"]) == 0
    return path


def test_images_with_captions_are_trained_on_and_said_to_be(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = ["--data", str(folder / "data.npz")], ["--out", str(folder / "again")]
    status = main(["train", "gan.dcgan", *data, *out, "--preset", "tiny", "--budget-images", "64"])

    assert status == 0
    assert "unlabelled, 50 captions, 3 distinct, of 4 distinct words" in capsys.readouterr().err
    assert load_generator(folder / "run" / "ckpt-32").conditions.words == (
        "above",
        "below",
        "bright",
        "dark",
    )


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("prompts.txt", "bright above\n\nDark\n"),
        ("prompts.json", '["bright above", "Dark"]'),
        ("set.json", '{"version": 1, "prompts": [{"text": "bright above"}, {"text": "Dark"}]}'),
    ],
)
def test_prompts_are_drawn_in_turn_and_written_beside_their_images(
    file: str, text: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text, "utf-8")
    asked = ["--prompts", str(tmp_path / file), "--num", "5", "--device", "cpu"]

    assert main(["sample", str(folder / "run"), *asked, "--out", str(tmp_path / "x.npz")]) == 0
    folder_of_png = ["--out", str(tmp_path / "png"), "--format", "png"]
    assert main(["sample", str(folder / "run"), *asked, *folder_of_png]) == 0

    found, pictures = read_images(tmp_path / "x.npz"), read_images(tmp_path / "png")
    in_turn = ("bright above", "Dark", "bright above", "Dark", "bright above")
    assert found.captions == pictures.captions == in_turn
    assert np.array_equal(found.pixels, pictures.pixels)


def test_one_prompt_is_asked_of_all_images(folder: Path, tmp_path: Path) -> None:
    out, run = ["--out", str(tmp_path / "x.npz")], str(folder / "run")
    asked = ["--prompt", "bright below", "--device", "cpu"]

    assert main(["sample", run, *asked, "--num", "2", *out]) == 0
    assert read_images(tmp_path / "x.npz").captions == ("bright below",) * 2
    assert main(["interpolate", run, *asked, "--seeds", "1", "2", "--num", "3", *out]) == 0
    assert read_images(tmp_path / "x.npz").captions == ("bright below",) * 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "the generator draws what words ask for: expected --prompt or --prompts"),
        (
            ["--prompt", "a red circle"],
            "--prompt: expected words that the model was trained on, it does not know 'a', 'red', "
            "'circle'",
        ),
        (["--prompt", " "], "--prompt: expected words, got ' '"),
        (["--label", "1"], "--label: the generator obeys words, expected --prompt"),
        (["--labels", "uniform"], "--labels: the generator obeys words"),
        (["--prompts", "none.txt"], "--prompts: none.txt: cannot be read (No such file or "),
        (["--prompts", "empty.txt"], "--prompts: empty.txt: expected a prompt in each line"),
        (["--prompts", "numbers.json"], "--prompts: numbers.json: expected a prompt in each line"),
        (["--prompts", "bad.json"], "--prompts: bad.json: cannot be read (Expecting"),
        (["--prompts", "red.txt"], "--prompts: red.txt: prompt 2: expected words that the model"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_one_line(
    asked: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {"empty.txt": "\n", "numbers.json": "[1]", "bad.json": "[", "red.txt": "dark\nred\n"}
    for name, text in texts.items():
        Path(name).write_text(text, "utf-8")

    status = main(["sample", str(folder / "run"), *asked, "--out", "x.npz", "--device", "cpu"])

    assert status == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert not Path("x.npz").exists()


def test_a_model_of_classes_is_asked_no_prompts(
    trained: dict[str, TrainingResult], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(trained["vae.conv"].checkpoint.path), str(tmp_path / "x.npz")

    assert main(["sample", run, "--prompt", "dark", "--out", out, "--device", "cpu"]) == 2
    assert capsys.readouterr().err == "error: --prompt: the generator obeys no words\n"
