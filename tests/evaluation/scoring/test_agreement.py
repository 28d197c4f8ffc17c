"""CLIPScore by a supplied model: as transformers has it by hand, known by its weights, with bounds."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.__main__ import main
from evaluation.features.base import ExtractorError
from evaluation.features.clip import ClipModel, identify
from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.opening import open_images
from evaluation.metrics.prompts.agreement import mean_agreement
from evaluation.protocols import agreement
from evaluation.protocols.agreement import CLIP_SCORE, ClipIdentity
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.prompts import PromptSet
from evaluation.protocols.record import Protocol
from evaluation.scenes.drawing import draw_scenes
from evaluation.scoring.evaluate import EvaluationError, EvaluationResult, evaluate_images
from tests.evaluation.factories import RandomProjection
from tests.evaluation.tiny_clip import make_clip

TEXTS = ("a red circle", "two blue crosses and much else that no model reads to its end", "nothing")
PROMPTS = PromptSet.from_record(
    {
        "version": 1,
        "prompts": [{"id": f"{i}", "text": t, "group": "x"} for i, t in enumerate(TEXTS)],
    }
)
SAMPLES = draw_scenes(12, 32, 1).pixels
REAL = draw_scenes(40, 32, 2)
HELD_OUT = draw_scenes(10, 32, 3)
EXTRACTOR = RandomProjection(channels=3, side=32)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="session")
def clip(folder: Path) -> ClipModel:
    return ClipModel.of(folder)


def make_protocol(clip: ClipIdentity | None, **more: Any) -> Protocol:
    from evaluation.imagesets.stream import images_digest  # noqa: PLC0415
    from evaluation.protocols.building import (  # noqa: PLC0415
        DatasetFacts,
        SplitFacts,
        build_protocol,
    )

    splits = {
        "train": SplitFacts(images_digest(REAL.pixels), len(REAL.pixels)),
        "test": SplitFacts(images_digest(HELD_OUT.pixels), len(HELD_OUT.pixels)),
    }
    values = {"metrics": ["fd", CLIP_SCORE], "images_per_prompt": 4, "prompts": PROMPTS, **more}
    return build_protocol(
        DatasetFacts("scenes", 32, 3, splits),
        extractor=EXTRACTOR.name,
        weights_sha256=EXTRACTOR.weights_sha256,
        recipe=EXTRACTOR.recipe,
        clip=clip,
        **values,
    )


def scored(clip: ClipModel, given: ClipModel | None = None) -> EvaluationResult:
    images = open_images(SAMPLES, name="samples")
    images.captions = tuple(PROMPTS.texts_of(len(SAMPLES)))
    held_out = open_images(HELD_OUT.pixels, name="held-out")
    held_out.captions = HELD_OUT.captions
    return evaluate_images(
        make_protocol(clip.identity),
        images,
        REAL.pixels,
        extractor=EXTRACTOR,
        held_out=held_out,
        prompts=PROMPTS,
        clip=given or clip,
    )


def by_hand(folder: Path, pixels: np.ndarray, texts: list[str]) -> torch.Tensor:
    """Return 100 max(cos, 0) of every image with every text, by transformers' own forward pass."""
    hf: Any = pytest.importorskip("transformers")
    model = hf.CLIPModel.from_pretrained(folder)
    tokens = hf.AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    images = hf.CLIPImageProcessorPil.from_pretrained(folder)(
        list(pixels.transpose(0, 2, 3, 1)), input_data_format="channels_last", return_tensors="pt"
    )
    with torch.no_grad():
        out = model(**tokens, **images)
    scores: torch.Tensor = 100 * (out.image_embeds.double() @ out.text_embeds.double().T).clamp(
        min=0
    )
    return scores


def test_it_is_what_transformers_gives_by_hand(folder: Path, clip: ClipModel) -> None:
    found = scored(clip).values[CLIP_SCORE]

    expected = by_hand(folder, SAMPLES, list(TEXTS))
    own = expected[torch.arange(12), torch.arange(12) % 3]
    others = (expected.sum() - own.sum()) / 24
    real = by_hand(folder, HELD_OUT.pixels, list(HELD_OUT.captions or ())).diagonal().mean()
    assert float(own.mean()) > 1  # no comparison of zeros
    assert found.value == pytest.approx(float(own.mean()), abs=1e-4)
    assert found.details["other_prompts"] == pytest.approx(float(others), abs=1e-4)
    assert found.details["real_pairs"] == pytest.approx(float(real), abs=1e-4)
    assert found.details["cut"] == 1
    assert found.interval is not None
    assert found.value is not None
    assert found.interval[0] < found.value < found.interval[1]


def test_its_name_says_whose_weights_and_these_are_in_the_fingerprint(clip: ClipModel) -> None:
    given = clip.identity
    protocol = make_protocol(given)

    assert protocol.label(CLIP_SCORE) == f"CLIPScore[tiny@{given.sha256[:8]}]"
    assert scored(clip).labels[CLIP_SCORE] == protocol.label(CLIP_SCORE)
    read = Protocol.from_record(json.loads(json.dumps(protocol.to_record())))
    assert read == protocol
    renamed = make_protocol(ClipIdentity("another", given.sha256))
    assert renamed.fingerprint() == protocol.fingerprint()
    other = make_protocol(ClipIdentity("tiny", "0" * 64))
    assert other.fingerprint() != protocol.fingerprint()


def test_without_a_model_the_metric_is_in_no_protocol() -> None:
    assert CLIP_SCORE not in make_protocol(None, metrics=None).metrics

    with pytest.raises(ProtocolError, match="clip_score: needs a CLIP-like model"):
        make_protocol(None)


def test_another_model_is_refused(clip: ClipModel, tmp_path: Path) -> None:
    other = ClipModel.of(make_clip(tmp_path / "tiny", seed=1))

    with pytest.raises(
        EvaluationError, match=rf"CLIPScore\[tiny@.* got one of {other.identity.sha256}"
    ):
        scored(clip, other)


def test_the_interval_is_of_other_images_of_the_same_prompts() -> None:
    rng = np.random.default_rng(0)
    prompts, each, covered, trials = 20, 4, 0, 400
    means = rng.uniform(10, 40, prompts)

    for _ in range(trials):
        scores = (means + rng.normal(0, 3, (each, prompts))).reshape(-1)
        low, high = mean_agreement(scores, prompts).interval or (0.0, 0.0)
        covered += low <= means.mean() <= high

    assert 0.92 <= covered / trials <= 0.98


def test_one_image_of_a_prompt_gives_a_wider_interval_and_one_in_all_none() -> None:
    scores = np.linspace(0, 50, 20)

    wide, narrow = mean_agreement(scores, 20), mean_agreement(np.sort(scores), 2)

    assert (wide.standard_error or 0) == pytest.approx(float(scores.std(ddof=1)) / np.sqrt(20))
    assert narrow.standard_error is not None
    assert mean_agreement(scores[:1], 1).interval is None


# --- folders that hold no model -----------------------------------------------------------------


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def holding(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (shutil.rmtree, "expected the folder of a CLIP-like model, found nothing there"),
        (without("config.json"), "expected the model's config.json there, there is none"),
        (without("preprocessor_config.json"), "the model's preprocessor_config.json there"),
        (without("tokenizer.json"), "expected the tokenizer's tokenizer.json, or vocab.json"),
        (without("model.safetensors"), "expected weights in model.safetensors, found none"),
        (pickled, "found pytorch_model.bin, a pickle, which may run code"),
        (holding("config.json", "{"), "config.json cannot be read"),
        (holding("config.json", '{"auto_map": {}}'), "transformers' own classes, no other code"),
        (holding("config.json", '{"model_type": "bert"}'), "a model of the type clip, got 'bert'"),
        (holding("model.safetensors", "x"), "transformers cannot read it"),
    ],
)
def test_a_folder_without_a_model_is_refused_with_what_is_missing(
    spoil: Callable[[Path], object], reason: str, folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    spoil(copy)

    with pytest.raises(ExtractorError) as refused:
        ClipModel.of(copy)

    assert str(copy) in str(refused.value) and reason in str(refused.value)


def test_what_lies_beside_the_model_does_not_change_it(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "tiny")
    (copy / "README.md").write_text("mine")
    (copy / "pytorch_model.bin").write_bytes(b"x")

    assert identify(copy) == identify(folder)


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Return a folder with samples, real images, held-out ones and prompts."""
    write_npz(tmp_path / "s.npz", SAMPLES, None, captions=PROMPTS.texts_of(12))
    write_npz(tmp_path / "train.npz", REAL.pixels, None, captions=REAL.captions)
    write_npz(tmp_path / "test.npz", HELD_OUT.pixels, None, captions=HELD_OUT.captions)
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS.to_record()))
    return tmp_path


def command(name: str, sets: Path, *more: object) -> list[str]:
    arguments = [
        *(name, *([sets / "s.npz"] if name == "score" else [])),
        *("--reference", sets / "train.npz", "--held-out", sets / "test.npz"),
        *("--cache", sets / "cache", "--json", sets / "out.json", *more),
    ]
    return [str(each) for each in arguments]


def asked(sets: Path) -> list[object]:
    return [
        "--extractor",
        "pixels-pca64",
        "--prompts",
        sets / "prompts.json",
        "--images-per-prompt",
        4,
    ]


def test_a_protocol_with_a_model_is_made_kept_and_scored_without_a_site(
    sets: Path, folder: Path, clip: ClipModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("protocol", sets, *asked(sets), "--clip", folder)) == 0
    made = json.loads((sets / "out.json").read_text())
    (sets / "p.json").write_text(json.dumps(made))
    assert (sets / "cache" / clip.identity.folder / "model.safetensors").is_file()

    assert main(command("score", sets, "--protocol", sets / "p.json")) == 0

    found = json.loads((sets / "out.json").read_text())
    assert found["fingerprint"] == made["fingerprint"]
    value = found["metrics"][CLIP_SCORE]
    expected = scored(clip).values[CLIP_SCORE]
    assert value["value"] == pytest.approx(expected.value)
    out = capsys.readouterr().out
    assert f"{clip.identity.label}: other prompts " in out and "real pairs " in out


def test_a_model_that_is_missing_is_named_with_its_place(
    sets: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("protocol", sets, *asked(sets), "--clip", folder)) == 0
    shutil.copy(sets / "out.json", sets / "p.json")
    shutil.rmtree(sets / "cache")

    assert main(command("score", sets, "--protocol", sets / "p.json")) == 2

    told = capsys.readouterr().err
    digest = identify(folder).sha256
    assert digest in told and str(sets / "cache" / f"clip-{digest[:16]}") in told


def test_a_model_that_nothing_uses_is_refused(
    sets: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("score", sets, *asked(sets), "--clip", folder, "--metrics", "fd")) == 2

    assert "--clip: expected clip_score among --metrics" in capsys.readouterr().err


def test_without_the_extra_the_error_says_so_first(
    sets: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("protocol", sets, *asked(sets), "--clip", folder)) == 0
    shutil.copy(sets / "out.json", sets / "p.json")
    monkeypatch.setattr(agreement, "find_spec", lambda _name: None)

    assert main(command("protocol", sets, *asked(sets), "--clip", folder)) == 2
    assert main(command("score", sets, "--protocol", sets / "p.json")) == 2

    assert capsys.readouterr().err.count("pip install 'trilemma[text]'") == 2
