"""Models of every family to which each distinct caption is a class: the floor of composition."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.imagesets.in_memory import read_images, write_npz
from generators.__main__ import main
from generators.specs.conditions import Conditions
from generators.specs.options import ConfigError
from generators.specs.registry import parse_config, parse_sampler
from generators.trained.inspection import interpolate
from generators.trained.sampling import LoadedGenerator, draw, draw_all, load_generator
from generators.trained.wanted import stand_ins, unknown_count
from generators.training import loop as training
from generators.training.loop import Budget, TrainingResult, train
from tests.generators.conftest import TINY, exactly, make_data
from tests.generators.test_conformance import weights_of
from tests.generators.test_words import CAPTIONS, captions_of, drawn, each_once

PLAIN = ("bright above", "bright below dark above", "dark")  # as the classes are called
KNOWN, UNKNOWN = ["Dark!", "bright above"], ["dark below", "a red circle"]

every_algorithm = pytest.mark.parametrize("algorithm", list(TINY))


def train_classes(algorithm: str, directory: Path, **options: Any) -> TrainingResult:
    given: dict[str, Any] = {
        "labels": None,
        "num_classes": 0,
        "captions": captions_of(),
        "budget": Budget(images=48),
        "device": "cpu",
        "seed": 0,
    }
    config = replace(TINY[algorithm], captions_as="classes")
    return train(algorithm, config, make_data().images, directory=directory, **{**given, **options})


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], LoadedGenerator]:
    """Return what loads a model of whole captions; each is trained once."""
    return each_once(train_classes, tmp_path_factory.mktemp("captions"))


@every_algorithm
def test_each_distinct_caption_is_a_class(
    algorithm: str, learned: Callable[[str], LoadedGenerator]
) -> None:
    generator = learned(algorithm)

    assert generator.conditions == Conditions(classes=3, captions=PLAIN)
    assert generator.num_classes == 0  # none of which a label could ask for
    counts = Counter(captions_of())
    assert generator.class_counts == (counts[CAPTIONS[0]], counts[CAPTIONS[1]], counts["Dark"])


@every_algorithm
def test_what_was_no_caption_is_drawn_as_any_caption_by_its_seed(
    algorithm: str, learned: Callable[[str], LoadedGenerator]
) -> None:
    generator, seeds = learned(algorithm), range(6)
    prompts = (KNOWN + UNKNOWN) * 2
    instead = stand_ins(generator.conditions, prompts[:6], seeds, generator.class_counts)

    together = drawn(generator, prompts[:6])

    assert isinstance(instead, list) and set(instead) <= {*PLAIN, *KNOWN}
    assert [instead[k] for k in (0, 1, 4, 5)] == KNOWN * 2
    assert np.array_equal(together, drawn(generator, instead))
    alone = drawn(generator, prompts[3:4], first=3, batch_size=1)
    assert np.abs(alone - together[3:4]).max() <= 1


@pytest.mark.parametrize("algorithm", ["gan.dcgan", "latent.flow"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    whole, polls = train_classes(algorithm, tmp_path / "whole"), itertools.count()

    train_classes(algorithm, tmp_path / "parts", should_stop=lambda: next(polls) >= 2)
    resumed = train_classes(algorithm, tmp_path / "parts")

    assert resumed.resume == "exact"
    assert weights_of(resumed) == weights_of(whole)


def test_captions_stand_in_as_often_as_the_training_had_them() -> None:
    conditions = Conditions(classes=3, captions=PLAIN)

    found = stand_ins(conditions, UNKNOWN[:1] * 4000, range(4000), (1, 0, 3))
    even = stand_ins(conditions, UNKNOWN[:1] * 4000, range(4000), None)

    assert found is not None and even is not None
    counts = Counter(map(str, found))
    assert counts[PLAIN[1]] == 0
    assert abs(counts[PLAIN[2]] - 3000) < 110  # four standard deviations
    assert all(abs(count - 4000 / 3) < 120 for count in Counter(map(str, even)).values())
    assert unknown_count(conditions, KNOWN + UNKNOWN) == 2


def test_a_model_of_words_needs_none_to_stand_in() -> None:
    conditions = Conditions.of_captions(CAPTIONS)

    assert stand_ins(conditions, UNKNOWN, [1, 2], None) is UNKNOWN
    assert unknown_count(conditions, UNKNOWN) == 0


def test_samples_keep_what_they_were_asked_with(learned: Callable[[str], LoadedGenerator]) -> None:
    generator = learned("vae.conv")
    sampler = parse_sampler("vae.conv", {})

    samples = draw_all(generator, sampler, seeds=range(4), captions=KNOWN + UNKNOWN)

    assert samples.captions == KNOWN + UNKNOWN and samples.labels is None
    assert samples.stand_ins == 2


def test_what_cannot_be_asked_for_is_refused(learned: Callable[[str], LoadedGenerator]) -> None:
    generator = learned("vae.conv")
    sampler = parse_sampler("vae.conv", {})

    with pytest.raises(ValueError, match=exactly("expected 2 captions, got 2 labels")):
        list(draw(generator, sampler, seeds=[0, 1], labels=np.array([0, 1]), batch_size=2))
    with pytest.raises(ValueError, match=exactly("expected 2 captions, got 3")):
        list(draw(generator, sampler, seeds=[0, 1], captions=list(PLAIN), batch_size=2))
    with pytest.raises(ValueError, match="expected one of the 3 captions that the model was"):
        interpolate(generator, sampler, first=1, second=2, count=2, label="dark below")


def test_a_caption_that_is_one_class_has_no_words_to_attend_to() -> None:
    message = "cross_attention: expected false: a caption that is one class has no words"

    with pytest.raises(ConfigError, match=message):
        parse_config("diffusion.flow", {"captions_as": "classes", "cross_attention": "true"})


def test_without_captions_nothing_is_learned_of_them(tmp_path: Path) -> None:
    data, message = make_data(), "captions_as: expected words: there are no captions"
    config = replace(TINY["vae.conv"], captions_as="classes")

    with pytest.raises(ConfigError, match=exactly(message)):
        train_classes("vae.conv", tmp_path / "run", captions=None)
    with pytest.raises(ConfigError, match=exactly(message)):
        train_classes(
            "vae.conv", tmp_path / "run", captions=None, labels=data.labels, num_classes=3
        )

    assert not (tmp_path / "run").exists()
    deaf = train(
        "vae.conv",
        replace(config, conditional=False),
        data.images,
        None,
        num_classes=0,
        captions=captions_of(),
        seed=0,
        budget=Budget(images=16),
        device="cpu",
        directory=tmp_path / "deaf",
    )
    assert load_generator(deaf.checkpoint.path).conditions == Conditions()


def test_a_training_begins_with_weights_of_the_same_captions_alone(tmp_path: Path) -> None:
    before = train_classes("vae.conv", tmp_path / "before").checkpoint.path
    others = [caption.replace("Dark", "white") for caption in captions_of()]

    with pytest.raises(ValueError, match="expected the same captions, of which differ dark, white"):
        train_classes("vae.conv", tmp_path / "after", captions=others, initial=before)


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a training on whole captions."""
    path = tmp_path_factory.mktemp("commands")
    write_npz(path / "data.npz", make_data().images, None, captions=captions_of())
    sets = ["base_channels=8", "latent_dim=4", "batch_size=16", "captions_as=classes"]
    options = [text for value in sets for text in ("--set", value)]
    data = ["--data", str(path / "data.npz"), "--budget-images", "32", "--out", str(path / "run")]
    assert main(["train", "vae.conv", *data, *options, "--device", "cpu"]) == 0
    return str(path / "run")


def test_prompts_that_were_no_captions_are_counted(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(KNOWN + UNKNOWN[:1]), "utf-8")
    asked = ["--prompts", str(tmp_path / "prompts.txt"), "--num", "7", "--device", "cpu"]

    assert main(["sample", run, *asked, "--out", str(tmp_path / "x.npz")]) == 0

    words = "2 of 7 images were asked for by a prompt that was no caption of the training"
    assert words in capsys.readouterr().err
    assert read_images(tmp_path / "x.npz").captions == tuple(((KNOWN + UNKNOWN[:1]) * 3)[:7])
    known = ["--prompt", "DARK", "--num", "2", "--out", str(tmp_path / "y.npz")]
    assert main(["sample", run, *known, "--device", "cpu"]) == 0
    assert "no caption" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["sample", "--prompt", " "], "--prompt: expected words, got ' '"),
        (
            ["sample", "--label", "1"],
            "--label: the generator obeys whole captions, expected --prom",
        ),
        (["sample", "--labels", "uniform"], "--labels: the generator obeys whole captions"),
        (["sample"], "the generator draws what words ask for: expected --prompt or --prompts"),
        (
            ["interpolate", "--prompt", "dark below", "--seeds", "1", "2"],
            "--prompt: expected one of the 3 captions that the model was trained on",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    asked: list[str], message: str, run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = asked
    out = ["--num", "2", "--out", str(tmp_path / "x.npz"), "--device", "cpu"]

    assert main([command, run, *rest, *out]) != 0

    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()
