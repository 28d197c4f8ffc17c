"""Models whose captions a frozen text encoder reads, made here: tiny, random, of a few words."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from evaluation.imagesets.in_memory import write_npz
from generators.__main__ import main
from generators.algorithm import frozen_text
from generators.algorithm.conditioning import ConditionEncoder
from generators.algorithm.contract import build_algorithm
from generators.algorithm.frozen_text import FrozenEncoder, conditions_of, digest_of
from generators.specs.conditions import ConditionError, Conditions, FrozenText
from generators.specs.options import ConfigError
from generators.specs.registry import parse_config
from generators.trained.sampling import LoadedGenerator, load_generator
from generators.training import loop as training
from generators.training.checkpoints import CheckpointError, load_checkpoint
from generators.training.loop import Budget, TrainingResult, train
from tests.generators.conftest import TINY, make_data
from tests.generators.test_conformance import weights_of
from tests.generators.test_words import ATTENDING, captions_of, drawn

WORDS = ["<s>", "</s>", "<unk>", "bright", "dark", "above", "below", "green"]  # green in no caption
WIDTH, MOST = 16, 12  # of hidden states, and tokens
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "attending": ("diffusion.flow", ATTENDING),
    "gan": ("gan.sngan", {}),
    "vae": ("vae.vq", {}),
    "latent": ("latent.flow", {}),
}


def write_encoder(folder: Path, *, words: list[str] = WORDS, embeddings: int = len(WORDS)) -> Path:
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=embeddings,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MOST,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder)
    numbers = {word: k for k, word in enumerate(words)}
    unknown = {"unk_token": "<unk>"}
    inner = Tokenizer(models.WordLevel(numbers, **unknown))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<s>", 0), ("</s>", 1)]
    inner.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=ends)
    PreTrainedTokenizerFast(tokenizer_object=inner, **unknown).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("text") / "encoder")


def train_on(folder: Path | str, name: str, directory: Path, **options: Any) -> TrainingResult:
    algorithm, changes = MODELS[name]
    given: dict[str, Any] = {
        "labels": None,
        "num_classes": 0,
        "captions": captions_of(),
        "budget": Budget(images=48),
        "device": "cpu",
        "seed": 0,
    }
    config = replace(TINY[algorithm], text_encoder=str(folder), **changes)
    return train(algorithm, config, make_data().images, directory=directory, **{**given, **options})


@pytest.fixture(scope="module")
def read(
    encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], LoadedGenerator]:
    """Return what loads a model that was trained with the encoder; each is trained once."""
    folder, results = tmp_path_factory.mktemp("read"), dict[str, TrainingResult]()

    def loaded(name: str) -> LoadedGenerator:
        if name not in results:
            results[name] = train_on(encoder, name, folder / name)
        return load_generator(results[name].checkpoint.path)

    return loaded


# --- what is encoded ----------------------------------------------------------------------------


def test_hidden_states_are_the_encoders_own_and_what_pads_changes_nothing(encoder: Path) -> None:
    conditions = conditions_of(str(encoder), ["bright below dark above", "dark"])
    assert conditions.frozen is not None
    rows = torch.tensor([*conditions.rows(["Dark", "dark green above"]), conditions.none])
    model: Any = CLIPTextModel.from_pretrained(encoder)

    hidden = FrozenEncoder.of(conditions.frozen).hidden(rows)
    told = ConditionEncoder(conditions)(rows)

    assert rows.tolist() == [[1, 5, 2, 0, 0, 0], [1, 5, 8, 6, 2, 0], [0] * 6]
    alone = model.eval()(torch.tensor([[0, 4, 1]])).last_hidden_state[0]
    assert torch.allclose(hidden[0, :3], alone, atol=1e-5)
    assert hidden[0, 3:].eq(0).all() and hidden[2].eq(0).all() and not hidden.requires_grad
    assert told.sequence.shape == (3, 6, 64) and told.pooled.shape == (3, 64)
    assert told.mask.sum(1).tolist() == [3, 5, 1]


def test_a_tokenizer_and_its_encoder_are_known_by_every_file(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    before = digest_of(folder)

    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        assert digest_of(folder) != before
        (folder / name).write_bytes(content)
    assert digest_of(shutil.copytree(folder, tmp_path / "copy")) == before


@pytest.mark.parametrize("name", list(MODELS))
def test_an_image_depends_on_its_seed_and_prompt_alone(
    name: str, read: Callable[[str], LoadedGenerator]
) -> None:
    generator, prompts = read(name), ["dark", "bright above", "green", "Dark below"]

    together = drawn(generator, prompts)

    assert np.abs(drawn(generator, prompts, batch_size=3) - together).max() <= 1
    assert np.abs(drawn(generator, prompts[3:], first=3) - together[3:]).max() <= 1


@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_asked_for_reaches_the_image(name: str, encoder: Path) -> None:
    algorithm, changes = MODELS[name]
    conditions = conditions_of(str(encoder), ["bright above", "dark"])
    config = replace(TINY[algorithm], text_encoder=str(encoder), **changes)
    model = build_algorithm(algorithm, config, shape=(1, 8, 8), conditions=conditions, seed=0)
    network: Any = next(n for n in model.networks.values() if hasattr(n, "condition"))
    rows = torch.tensor(conditions.rows(["bright above", "dark above"]))

    encoded = network.condition(rows)
    encoded.pooled[0, 0].backward()

    assert (encoded.pooled[0] - encoded.pooled[1]).abs().max() > 1e-3
    assert network.condition.words.project.weight.grad.abs().max() > 0


@pytest.mark.parametrize("name", ["attending", "latent"])
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    name: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    whole, polls = train_on(encoder, name, tmp_path / "whole"), itertools.count()

    train_on(encoder, name, tmp_path / "parts", should_stop=lambda: next(polls) >= 2)
    resumed = train_on(encoder, name, tmp_path / "parts")

    assert resumed.resume == "exact"
    assert weights_of(resumed) == weights_of(whole)


def test_the_encoder_is_not_trained_and_in_no_checkpoint_but_its_digest_is(
    encoder: Path, tmp_path: Path
) -> None:
    before = digest_of(encoder)

    result = train_on(encoder, "attending", tmp_path / "run")

    manifest, tensors = load_checkpoint(result.checkpoint.path)
    assert manifest["conditions"] == {
        "frozen": {"folder": str(encoder), "sha256": before},
        "length": 8,
    }
    assert not any("embed" in name and "condition" in name for name in tensors)
    assert any(name.endswith("condition.words.project.weight") for name in tensors)
    assert digest_of(encoder) == before
    assert load_generator(result.checkpoint.path).conditions == Conditions.from_record(manifest)


# --- what is refused ----------------------------------------------------------------------------


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def foreign(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))


def damaged(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(b"{}")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (shutil.rmtree, "expected a folder with a text encoder and its tokenizer, found n"),
    "no config": (without("config.json"), "expected the text encoder's config.json, there is none"),
    "no tokenizer": (without("tokenizer.json"), "expected a tokenizer, one of tokenizer.json, "),
    "no weights": (without("model.safetensors"), "weights in a .safetensors file, found none"),
    "pickle": (pickled, "found pytorch_model.bin, a pickle, which may run code"),
    "code": (foreign, "expected a config.json of transformers' own classes, no other code"),
    "no JSON": (lambda f: (f / "config.json").write_text("x"), "config.json cannot be read ("),
    "damaged weights": (damaged("model.safetensors"), "transformers cannot read it ("),
    "damaged tokenizer": (damaged("tokenizer.json"), "transformers cannot read it ("),
    "more ids": (
        lambda f: write_encoder(f, words=[*WORDS, "red"]),
        "expected a tokenizer whose ids are below 8, as many as the text encoder has embeddings, "
        "its largest is 8",
    ),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_folder_that_cannot_be_used_is_refused_before_training(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    folder = write_encoder(tmp_path / "encoder")
    change(folder)

    with pytest.raises(ConfigError) as caught:
        train_on(folder, "gan", tmp_path / "run")

    assert f"text_encoder: {folder}: " in str(caught.value) and message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_extra_is_named(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    frozen_text._loaded.cache_clear()

    with pytest.raises(ConfigError, match=r"expected the package transformers: pip install 'tri"):
        train_on(encoder, "gan", tmp_path / "run")


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("dark " * 11, "caption 0: expected 1 to 12 tokens, as the text encoder reads, got 13"),
        (" ", "caption 0: expected words, got ' '"),
        ("x" * 5000, "caption 0: expected at most 1,000 characters, got 5,000"),
    ],
)
def test_captions_that_the_encoder_cannot_read_are_refused(
    caption: str, message: str, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConditionError, match=message):
        train_on(encoder, "gan", tmp_path / "run", captions=[caption, *captions_of()[1:]])

    assert not (tmp_path / "run").exists()


def test_prompts_are_no_longer_than_the_longest_caption(encoder: Path) -> None:
    conditions = conditions_of(str(encoder), ["dark", "bright above"])

    with pytest.raises(ConditionError, match="expected at most 4 tokens, as the longest caption"):
        conditions.row("dark above bright")


def test_a_checkpoint_is_drawn_from_with_its_own_encoder_alone(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    result = train_on(folder, "gan", tmp_path / "run")
    frozen_text._loaded.cache_clear()  # as another process begins

    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(CheckpointError, match="expected the text encoder of the training, sha256"):
        load_generator(result.checkpoint.path)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="found nothing there"):
        load_generator(result.checkpoint.path)


def test_options_that_exclude_each_other_are_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text_encoder: expected none: a caption that is one cla"):
        parse_config("gan.sngan", {"text_encoder": "x", "captions_as": "classes"})
    with pytest.raises(ConfigError, match="text_encoder: expected none: there are no captions"):
        train_on(encoder, "gan", tmp_path / "run", captions=None)


@pytest.mark.parametrize(
    "record",
    [
        {"frozen": {"folder": "x"}, "length": 3},
        {"frozen": {"folder": 1, "sha256": "y"}, "length": 3},
        {"frozen": {"folder": "x", "sha256": "y"}, "length": 0},
        {"frozen": {"folder": "x", "sha256": "y"}, "length": "3"},
    ],
)
def test_a_manifests_encoder_makes_sense(record: dict[str, Any]) -> None:
    with pytest.raises(ConditionError, match="expected"):
        Conditions.from_record({"num_classes": 0, "conditions": record})


def test_records_are_read_back_without_opening_the_folder() -> None:
    conditions = Conditions(frozen=FrozenText("nowhere", "0" * 64), length=4)

    assert Conditions.from_record(json.loads(json.dumps(conditions.as_record()))) == conditions
    assert (conditions.kind, conditions.by_text, conditions.none) == ("words", True, [0] * 4)


def test_the_command_line_refuses_a_folder_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_npz(tmp_path / "data.npz", make_data().images, None, captions=captions_of())
    out = ["--out", str(tmp_path / "run"), "--budget-images", "8", "--device", "cpu"]
    sets = ["--set", f"text_encoder={tmp_path / 'none'}"]

    assert main(["train", "vae.conv", "--data", str(tmp_path / "data.npz"), *out, *sets]) != 0

    assert "text_encoder: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
