"""Images of tiny random pipelines: from their seeds alone, counted, and refused with reasons."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from generators.pipelines.asking import cut_words
from generators.pipelines.drawing import Tally, draw, draw_all
from generators.pipelines.loading import LoadedPipeline, load
from generators.specs.options import ConfigError, parse
from generators.specs.pipelines import card as cards
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.options import PipelineConfig, PipelineSampler
from generators.trained.sampling import SamplingStopped
from tests.generators.conftest import exactly
from tests.generators.pipelines import tiny
from tests.generators.pipelines.conftest import Copy
from tests.generators.pipelines.test_reading import changed

# of diffusers' schedulers, which hand tensors to NumPy
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Open = Callable[..., LoadedPipeline]
TWO = PipelineSampler(steps=2)
PROMPTS = ["a red circle", "a blue square", "two", "three green crosses"]
EVERY = [*tiny.WITHOUT_WORDS, *tiny.WITH_WORDS]
SMALL: dict[str, Any] = {"flux": {"height": 32, "width": 32}}  # its own are 256


@pytest.fixture(scope="module")
def opened(folder_of: Callable[[str], Path]) -> Open:
    loaded: dict[str, LoadedPipeline] = {}

    def open_(name: str) -> LoadedPipeline:
        if name not in loaded:
            loaded[name] = load(folder_of(name))
        return loaded[name]

    return open_


def wanted(pipeline: LoadedPipeline, count: int) -> dict[str, Any]:
    if pipeline.card.asked == "text":
        return {"captions": [PROMPTS[place % 4] for place in range(count)]}
    if pipeline.card.asked == "classes":
        return {"labels": np.arange(count) % 5}
    return {}


def drawn(
    pipeline: LoadedPipeline, sampler: PipelineSampler, seeds: list[int], size: int, **more: Any
) -> np.ndarray:
    asked = {**wanted(pipeline, len(seeds)), **more}
    return np.concatenate(list(draw(pipeline, sampler, seeds=seeds, batch_size=size, **asked)))


@pytest.mark.parametrize("name", EVERY)
def test_an_image_depends_on_its_seed_alone_whatever_the_batch(name: str, opened: Open) -> None:
    pipeline = opened(name)
    sampler = PipelineSampler(steps=2, **SMALL.get(name, {}))

    together = drawn(pipeline, sampler, [7, 8, 9], 3)
    apart = drawn(pipeline, sampler, [7, 8, 9], 1)

    side = 8 if pipeline.card.height == 8 else 32
    assert together.dtype == np.uint8 and together.shape == (3, 3, side, side)
    assert np.abs(together.astype(int) - apart).max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).max() > 1
    assert together.std() > 1


@pytest.mark.parametrize("name", ["stable_diffusion", "dit"])
def test_what_is_asked_for_and_guidance_change_an_image(name: str, opened: Open) -> None:
    pipeline = opened(name)

    def image(guidance: float, place: int, **options: Any) -> np.ndarray:
        sampler = PipelineSampler(steps=2, guidance=guidance, **options)
        asked = {key: value[place : place + 1] for key, value in wanted(pipeline, 2).items()}
        return next(draw(pipeline, sampler, seeds=[3], batch_size=1, **asked)).astype(int)

    first = image(30, 0)
    assert np.abs(first - image(30, 1)).max() > 0
    assert np.abs(first - image(1, 0)).max() > 0
    if name == "stable_diffusion":
        assert np.abs(first - image(30, 0, negative_prompt="noise")).max() > 0


@pytest.mark.parametrize(
    ("name", "guided", "rows"),
    [
        ("ddpm", False, 2),
        ("consistency", False, 2),
        ("dit", True, 4),
        ("stable_diffusion", True, 6),  # PNDM asks once more, each time twice
        ("stable_diffusion", False, 3),
        ("stable_diffusion_xl", True, 4),
        ("stable_diffusion_3", True, 4),
        ("pixart", True, 4),
        ("flux", True, 2),  # its guidance is a number that the network reads
    ],
)
def test_evaluations_are_counted(name: str, guided: bool, rows: int, opened: Open) -> None:
    sampler = PipelineSampler(steps=2, guidance=0 if guided else 1, **SMALL.get(name, {}))
    pipeline = opened(name)

    samples = draw_all(pipeline, sampler, seeds=[1, 2, 3], **wanted(pipeline, 3))

    assert samples.stats.nfe == rows
    assert samples.stats.batch_size == 3 and samples.stats.peak_memory_bytes is None
    assert 0 < samples.stats.latency_seconds <= samples.stats.latency_p95_seconds
    assert samples.captions == wanted(pipeline, 3).get("captions")
    assert samples.sampler.steps == 2 and samples.sampler.height == samples.pixels.shape[2]
    assert samples.blackened is None and samples.cut == {}


def test_the_pipelines_own_numbers_stand_where_none_are_given(opened: Open) -> None:
    samples = draw_all(opened("ddpm"), PipelineSampler(), seeds=[1])

    assert samples.sampler.steps == 100  # of its schedule; diffusers would walk 1,000
    assert samples.stats.nfe == 100


def test_a_scheduler_takes_the_place_of_the_folders_own(opened: Open) -> None:
    pipeline = opened("ddpm")

    own = drawn(pipeline, TWO, [1], 1)
    ddim = drawn(pipeline, PipelineSampler(scheduler="DDIMScheduler", steps=2), [1], 1)

    assert np.abs(own.astype(int) - ddim).max() > 1
    assert np.array_equal(drawn(pipeline, TWO, [1], 1), own)


def test_what_is_kept_of_a_batch_is_what_stays(opened: Open) -> None:
    seen: list[tuple[int, list[int]]] = []

    def keep(pixels: np.ndarray, black: list[int]) -> np.ndarray:
        seen.append((len(pixels), black))
        return pixels[:, :, ::2, ::2]

    whole = draw_all(opened("ddpm"), TWO, seeds=[1, 2, 3], batch_size=2)
    kept = draw_all(opened("ddpm"), TWO, seeds=[1, 2, 3], batch_size=2, keep=keep)

    assert np.array_equal(kept.pixels, whole.pixels[:, :, ::2, ::2])
    assert seen == [(2, []), (1, [])] and kept.stats.batch_size == 2


# --- memory, stopping, safety -------------------------------------------------------------------


def test_a_batch_is_halved_until_it_fits(opened: Open) -> None:
    pipeline, tally = opened("ddpm"), Tally()
    expected = drawn(pipeline, TWO, list(range(7)), 7)

    def too_large(_module: object, inputs: tuple[torch.Tensor, Any]) -> None:
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("no more")

    hook = pipeline.denoiser.register_forward_pre_hook(too_large)
    try:
        found = drawn(pipeline, TWO, list(range(7)), 7, tally=tally)
    finally:
        hook.remove()

    assert np.abs(expected.astype(int) - found).max() <= 1
    assert tally.evaluations == 2 * 7 and tally.batch_size == 1  # 7 = 1 + 1 + … of halves 3 and 1


def test_too_little_memory_for_one_image_is_said(opened: Open) -> None:
    def none_left(_module: object, _inputs: object) -> None:
        raise torch.OutOfMemoryError("no more")

    hook = opened("ddpm").denoiser.register_forward_pre_hook(none_left)
    try:
        message = "too little memory, even for one image at a time: no more"
        with pytest.raises(PipelineError, match=exactly(message)):
            drawn(opened("ddpm"), TWO, [1, 2], 2)
    finally:
        hook.remove()


def test_drawing_stops_within_a_batch(opened: Open) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(0)
        return len(asked) == 14

    chunks = draw(
        opened("ddpm"),
        PipelineSampler(steps=10),
        seeds=[1, 2, 3],
        batch_size=2,
        should_stop=should_stop,
    )

    assert next(chunks).shape == (2, 3, 8, 8)
    with pytest.raises(SamplingStopped, match=exactly("stopped after 2 of 3 images")):
        next(chunks)
    assert len(asked) == 14
    assert drawn(opened("ddpm"), TWO, [1], 1).shape == (1, 3, 8, 8)  # nothing is left behind


@pytest.mark.parametrize(("most", "blackened"), [(-1.0, [0, 1, 2]), (1.0, [])])
def test_images_that_a_safety_checker_blackened_are_counted(
    most: float, blackened: list[int], tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    folder = tiny.stable_diffusion(tmp_path / "checked", most)

    checked = draw_all(load(folder), TWO, seeds=[1, 2, 3], captions=PROMPTS[:3], batch_size=2)
    off = load(folder, PipelineConfig(safety_checker=False))
    free = draw_all(off, TWO, seeds=[1, 2, 3], captions=PROMPTS[:3])

    told: list[list[int]] = []

    def keep(pixels: np.ndarray, black: list[int]) -> np.ndarray:
        told.append(black)
        return pixels

    draw_all(load(folder), TWO, seeds=[1, 2, 3], captions=PROMPTS[:3], batch_size=2, keep=keep)

    assert (checked.blackened, free.blackened) == (blackened, None)
    assert told == ([[0, 1], [0]] if blackened else [[], []])
    assert free.pixels.max() > 0
    if blackened:
        assert checked.pixels.max() == 0
    else:
        assert np.abs(checked.pixels.astype(int) - free.pixels).max() <= 1


def test_noise_that_no_seed_gave_is_refused(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = opened("ddpm")
    step = type(pipeline.scheduler).step
    monkeypatch.setattr(
        type(pipeline.scheduler),
        "step",
        lambda self, *given, generator: step(self, *given, generator=None),
    )

    message = (
        "expected noise from each image's seed alone: DDPMPipeline with DDPMScheduler draws more, "
        "from no seed"
    )
    with pytest.raises(PipelineError, match=exactly(message)):
        drawn(pipeline, TWO, [1, 2], 2)


def test_images_that_are_no_numbers_are_refused(opened: Open, folder_of: Any) -> None:
    pipeline = load(folder_of("ddpm"))
    next(pipeline.denoiser.parameters()).data.fill_(torch.nan)

    with pytest.raises(PipelineError, match="expected finite numbers, the images have others"):
        drawn(pipeline, TWO, [1], 1)


# --- prompts ------------------------------------------------------------------------------------


def test_prompts_that_are_too_long_are_refused_or_cut(opened: Open) -> None:
    pipeline = opened("stable_diffusion")
    long = "a " * 75 + "red circle"  # a token for each letter, and two around them

    assert cut_words(pipeline, [long, "short"]) == {long: "red circle"}
    with pytest.raises(PipelineError) as caught:
        drawn(pipeline, TWO, [1, 2], 2, captions=[long, "short"])
    assert "1 of 2 prompts are too long: expected at most 77 tokens" in str(caught.value)
    assert "this would be cut off: 'red circle'" in str(caught.value)

    sampler = PipelineSampler(steps=2, long_prompts="cut")
    samples = draw_all(pipeline, sampler, seeds=[1], captions=[long])
    assert samples.cut == {long: "red circle"}
    assert np.array_equal(samples.pixels, drawn(pipeline, TWO, [1], 1, captions=["a " * 75]))


def test_what_one_of_several_encoders_reads_is_not_cut(opened: Open) -> None:
    pipeline = opened("flux")
    medium, long = "a " * 100, "a " * 600

    assert cut_words(pipeline, [medium]) == {}
    assert list(cut_words(pipeline, [long])) == [long]


# --- what does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ddpm", {"steps": 101}, "steps: expected at most the schedule's 100, got 101"),
        ("ddpm", {"guidance": 3}, "guidance: expected 1: DDPMPipeline knows no guidance"),
        ("ddpm", {"height": 16}, "height: expected 8, the only one of DDPMPipeline; got 16"),
        (
            "ddpm",
            {"negative_prompt": "x"},
            "negative_prompt: expected none: DDPMPipeline takes none",
        ),
        (
            "ddpm",
            {"scheduler": "EulerDiscreteScheduler"},
            "scheduler: expected own or one of DDIMScheduler, DDPMScheduler for DDPMPipeline, got "
            "EulerDiscreteScheduler",
        ),
        (
            "preconditioned",
            {"scheduler": "DDIMScheduler"},
            "scheduler: expected own or one of EDMDPMSolverMultistepScheduler, EDMEulerScheduler "
            "for StableDiffusionPipeline, got DDIMScheduler",
        ),
        ("stable_diffusion", {"width": 33}, "width: expected a multiple of 8, got 33"),
        (
            "stable_diffusion",
            {"guidance": 1, "negative_prompt": "x"},
            "negative_prompt: expected none: without guidance nothing is held against it",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    name: str, options: dict[str, Any], message: str, opened: Open
) -> None:
    with pytest.raises(ConfigError, match=exactly(message)):
        drawn(opened(name), PipelineSampler(**options), [1], 1)


def test_steps_that_a_scheduler_cannot_walk_are_refused(opened: Open) -> None:
    sampler = PipelineSampler(scheduler="LCMScheduler", steps=51)

    with pytest.raises(ConfigError, match="steps: LCMScheduler does not walk in 51 steps: "):
        drawn(opened("stable_diffusion"), sampler, [1], 1)


def test_an_unknown_scheduler_is_refused() -> None:
    with pytest.raises(ConfigError, match="scheduler: expected one of own, DDIMScheduler, "):
        parse(PipelineSampler, {"scheduler": "MyScheduler"})


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        (
            "ddpm",
            {"labels": np.zeros(1, int)},
            "expected neither labels nor captions for DDPMPipeline, got labels",
        ),
        ("dit", {}, "expected labels for DiTPipeline, got none"),
        ("dit", {"labels": np.array([1000])}, "expected labels in 0..999, got 1000..1000"),
        ("dit", {"labels": np.zeros(2, int)}, "expected 1 labels, got shape (2,)"),
        ("stable_diffusion", {}, "expected captions for StableDiffusionPipeline, got none"),
        ("stable_diffusion", {"captions": ["a", "b"]}, "expected 1 captions, got 2"),
    ],
)
def test_what_is_not_asked_for_by_is_refused(
    name: str, asked: dict[str, Any], message: str, opened: Open
) -> None:
    with pytest.raises(ValueError, match=exactly(message)):
        next(draw(opened(name), TWO, seeds=[1], batch_size=1, **asked))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "precision: expected float32 or bfloat16: float16 needs a GPU"),
        ({"offload": "model"}, "offload: expected none: there is no GPU to take from, but cpu"),
        ({"tiling": True}, "tiling: expected off: DDPMPipeline decodes nothing"),
    ],
)
def test_a_way_to_load_that_does_not_fit_is_refused(
    options: dict[str, Any], message: str, folder_of: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=exactly(message)):
        load(folder_of("ddpm"), PipelineConfig(**options))


@pytest.mark.parametrize("name", ["ddpm", "dit", "stable_diffusion"])
def test_half_precision_draws_nearly_the_same(
    name: str, opened: Open, folder_of: Callable[[str], Path]
) -> None:
    half = load(folder_of(name), PipelineConfig(precision="bfloat16"))

    found = drawn(half, TWO, [1, 2], 2).astype(int)

    difference = np.abs(found - drawn(opened(name), TWO, [1, 2], 2))
    assert difference.max() > 0 and difference.mean() < 8


def test_tiles_are_decoded_one_by_one(folder_of: Callable[[str], Path], opened: Open) -> None:
    tiled = load(folder_of("dit"), PipelineConfig(tiling=True))
    tiled.pipe.vae.tile_latent_min_size, tiled.pipe.vae.tile_sample_min_size = 8, 16  # of 16, 32

    found = drawn(tiled, TWO, [1], 1).astype(int)

    assert found.shape == (1, 3, 32, 32)
    assert np.abs(found - drawn(opened("dit"), TWO, [1], 1)).mean() > 0


# --- loading ------------------------------------------------------------------------------------


def test_a_folder_that_changed_is_refused(copied: Copy) -> None:
    folder = copied("ddpm")
    digest = load(folder).card.digest
    assert load(folder, digest=digest).card.digest == digest

    changed(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=50)

    with pytest.raises(PipelineError, match="the folder is not what it was"):
        load(folder, digest=digest)


def test_a_folder_that_is_refused_is_not_loaded(copied: Copy) -> None:
    folder = copied("ddpm")
    (folder / "mine.py").write_text("raise SystemExit('it ran')")

    with pytest.raises(PipelineError, match=r"^mine\.py: expected no code"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "part", "stem"),
    [
        ("ddpm", "unet", "diffusion_pytorch_model"),
        ("stable_diffusion", "text_encoder", "model"),
        ("stable_diffusion", "vae", "diffusion_pytorch_model"),
    ],
)
def test_weights_that_lack_a_tensor_are_refused(
    name: str, part: str, stem: str, copied: Copy
) -> None:
    path = copied(name) / part / f"{stem}.safetensors"
    tensors = load_file(path)
    tensors.pop(max(tensors, key=lambda key: (tensors[key].ndim == 1, key)))
    save_file(tensors, path, metadata={"format": "pt"})

    with pytest.raises(PipelineError, match=r"parameters in its files|diffusers cannot load it"):
        load(path.parents[1])


def test_a_variant_alone_is_loaded(copied: Copy, opened: Open) -> None:
    folder = copied("ddpm")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))

    assert np.array_equal(drawn(load(folder), TWO, [1], 1), drawn(opened("ddpm"), TWO, [1], 1))


def test_a_missing_extra_is_said_before_loading(
    monkeypatch: pytest.MonkeyPatch, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of("stable_diffusion")
    monkeypatch.setattr(cards, "installed", lambda package: False)

    with pytest.raises(PipelineError, match=r"transformers, not installed: pip install 'tri"):
        load(folder)


def test_a_folder_moves_without_changing_its_images(
    folder_of: Callable[[str], Path], tmp_path: Path, opened: Open
) -> None:
    moved = Path(shutil.copytree(folder_of("dit"), tmp_path / "elsewhere"))

    pipeline = load(moved, digest=opened("dit").card.digest)

    assert np.array_equal(drawn(pipeline, TWO, [1], 1), drawn(opened("dit"), TWO, [1], 1))
