"""A pipeline's folder is read, and refused with a reason, before anything of it is imported."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest

from generators.specs.pipelines import card as cards
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.classes import COMPONENTS, PIPELINES
from generators.specs.pipelines.parts import EXPORT
from generators.specs.pipelines.pinned import folder_within
from generators.specs.pipelines.reading import INDEX, inspect
from tests.generators.conftest import exactly
from tests.generators.pipelines import tiny
from tests.generators.pipelines.conftest import Copy

SHARD = "diffusion_pytorch_model-00001-of-00002.safetensors"


def changed(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "asked", "side", "classes"),
    [
        ("ddpm", "nothing", 8, 0),
        ("dit", "classes", 32, 1000),
        ("consistency", "nothing", 8, 0),
        ("classed_consistency", "classes", 8, 5),
        ("stable_diffusion", "text", 32, 0),
        ("stable_diffusion_xl", "text", 32, 0),
        ("stable_diffusion_3", "text", 32, 0),
        ("pixart", "text", 32, 0),
        ("flux", "text", 256, 0),
    ],
)
def test_a_folder_says_what_it_draws(
    name: str, asked: str, side: int, classes: int, folder_of: Callable[[str], Path]
) -> None:
    card = inspect(folder_of(name))

    assert card.problems == ()
    assert (card.asked, card.channels, card.height, card.width) == (asked, 3, side, side)
    assert card.num_classes == classes
    assert card.written_with == diffusers.__version__
    assert {part.name for part in card.components} >= set(card.spec.components)
    json.dumps(card.as_record())


def test_components_have_classes_digests_and_parameters(copied: Copy) -> None:
    folder = copied("ddpm")
    before = inspect(folder)

    scheduler, unet = before.components
    assert (unet.name, unet.class_name, unet.dtypes) == ("unet", "UNet2DModel", ("F32",))
    assert unet.parameters == sum(p.numel() for p in tiny.unet2d().parameters())
    assert (scheduler.class_name, scheduler.parameters) == ("DDPMScheduler", None)

    (folder / "unet" / "notes.md").write_text("means nothing")
    assert inspect(folder).digest == before.digest
    changed(folder / "scheduler" / "scheduler_config.json", num_train_timesteps=50)
    after = inspect(folder)
    assert after.components[1] == unet and after.timesteps == 50
    assert after.components[0].digest != scheduler.digest and after.digest != before.digest
    assert inspect(folder, digests=False).digest == ""


def test_licence_and_heading_come_from_the_model_card(copied: Copy) -> None:
    folder = copied("ddpm")
    assert inspect(folder).licence is None

    card = "---\nlicense: creativeml-openrail-m\ntags:\n- text-to-image\n---\n\n# Tiny model\n\nWords.\n"
    (folder / "README.md").write_text(card)
    found = inspect(folder)
    assert (found.licence, found.model_card) == ("creativeml-openrail-m", "Tiny model")

    for broken in ("---\nlicense: [\n---\n", "---\nlicense: 3\n---\n", "no front matter", "\udcff"):
        (folder / "README.md").write_text(broken, errors="surrogateescape")
        assert inspect(folder).licence is None


def remote_code(folder: Path) -> None:
    changed(folder / "unet" / "config.json", auto_map={"AutoModel": "mine.Model"})


def pickle_only(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def escaping_link(folder: Path) -> None:
    (folder / "unet" / "notes.txt").symlink_to("/etc/hostname")


def cut_off(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])


def no_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def missing_shard(folder: Path) -> None:
    no_weights(folder)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": SHARD}}))


def shard_elsewhere(folder: Path) -> None:
    no_weights(folder)
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../other.safetensors"}}))


def no_folder(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").unlink()
    (folder / "scheduler").rmdir()


def named(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / INDEX, **changes)


def written(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "its own pipeline": (named(_class_name="MyPipeline"), "_class_name: expected one of StableDi"),
    "a pipeline's file": (named(_class_name=["mine", "Mine"]), "_class_name: expected one of Sta"),
    "its own unet": (
        named(unet=["mine", "UNet2DModel"]),
        "unet: expected UNet2DConditionModel or UNet2DModel of diffusers, got ['mine', 'UNet2DM",
    ),
    "an unknown class": (
        named(unet=["diffusers", "AutoencoderKL"]),
        "unet: expected UNet2DConditionModel or UNet2DModel of diffusers, got ['diffusers', 'Au",
    ),
    "an unknown component": (named(judge=["diffusers", "UNet2DModel"]), "judge: expected one of"),
    "no unet": (named(unet=[None, None]), "unet: DDPMPipeline needs this component, model_index.j"),
    "remote code": (
        remote_code,
        "unet/config.json: asks for remote code (auto_map), which is not run here",
    ),
    "quantised": (
        lambda folder: changed(folder / "unet" / "config.json", quantization_config={"bits": 4}),
        "unet/config.json: asks for a package for quantised weights (quantization_config), which",
    ),
    "an adapter": (
        written("unet/adapter_config.json", "{}"),
        "unet/adapter_config.json: expected all of the model here, got an adapter of one elsewh",
    ),
    "a Python file": (
        written("unet/model.py", ""),
        "unet/model.py: expected no code, a pipeline's folder is data",
    ),
    "a pickle": (
        written("unet/other.ckpt", ""),
        "unet/other.ckpt: expected safetensors, got a pickle, which is code: take it out of the",
    ),
    "pickles alone": (
        pickle_only,
        "unet/diffusion_pytorch_model.bin: expected safetensors, got a pickle, which is code: t",
    ),
    "a link out of the folder": (
        escaping_link,
        "unet/notes.txt: expected a file of this folder, got a link that leaves it",
    ),
    "no weights": (no_weights, "unet: expected its weights as safetensors, found none"),
    "half the weights": (
        cut_off,
        "unet: diffusion_pytorch_model.safetensors: expected ",
    ),
    "no safetensors": (
        written("unet/diffusion_pytorch_model.safetensors", "hello"),
        "unet: diffusion_pytorch_model.safetensors: expected safetensors, its header is damaged",
    ),
    "a missing shard": (
        missing_shard,
        f"unet: {SHARD}: expected this file of weights, it is missing",
    ),
    "a shard elsewhere": (
        shard_elsewhere,
        "unet: diffusion_pytorch_model.safetensors.index.json: expected a weight_map of file na",
    ),
    "a missing folder": (no_folder, "scheduler: expected its folder scheduler/, it is missing"),
    "a broken index": (written(INDEX, "{"), "model_index.json: cannot be read (Expecting proper"),
    "a list": (written(INDEX, "[]"), "model_index.json: expected an object, got list"),
    "a broken configuration": (
        written("unet/config.json", "?"),
        "unet: config.json: cannot be read (Expecting value",
    ),
    "a strange size": (
        lambda folder: changed(folder / "unet" / "config.json", sample_size="big"),
        "a configuration makes no sense: expected a whole number, got 'big'",
    ),
    "a strange call": (
        written(EXPORT, '{"call": {"output_type": "latent"}}'),
        "trilemma.json: expected a call with num_inference_steps, use_clipped_model_output, ste",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_data_is_refused_with_the_reason(name: str, copied: Copy) -> None:
    folder = copied("ddpm")
    spoil, reason = REFUSED[name]
    spoil(folder)

    card = inspect(folder)

    assert any(problem.startswith(reason) for problem in card.problems), card.problems
    with pytest.raises(PipelineError):
        card.check()


def test_every_reason_is_given_at_once(copied: Copy) -> None:
    folder = copied("ddpm")
    pickle_only(folder)
    (folder / "mine.py").touch()

    assert [problem.partition(":")[0] for problem in inspect(folder).problems] == [
        "mine.py",
        "unet/diffusion_pytorch_model.bin",
        "unet",
    ]


def test_what_is_no_pipeline_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for place, found in (
        (tmp_path, f"{tmp_path}: expected a pipeline's model_index.json, found none"),
        (
            tmp_path / "none",
            f"{tmp_path / 'none'}: expected a pipeline's folder, found nothing there",
        ),
        (tmp_path / "file", f"{tmp_path / 'file'}: expected a pipeline's folder, found a file"),
    ):
        with pytest.raises(PipelineError, match=exactly(found)):
            inspect(place).check()


def test_a_snapshot_of_the_hubs_cache_may_link_to_its_blobs(copied: Copy, tmp_path: Path) -> None:
    repository = tmp_path / "models--us--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    copied("ddpm").rename(snapshot)
    weights = snapshot / "unet" / "diffusion_pytorch_model.safetensors"
    (repository / "blobs").mkdir()
    weights.rename(repository / "blobs" / "abc")

    weights.symlink_to(repository / "blobs" / "abc")
    assert inspect(snapshot).problems == ()

    weights.unlink()
    weights.symlink_to(tmp_path / "elsewhere")
    assert "a link that leaves it" in inspect(snapshot).problems[0]


def test_weights_of_a_variant_alone_are_found(copied: Copy) -> None:
    folder = copied("ddpm")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"

    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))

    card = inspect(folder)
    assert (card.problems, card.components[1].variant) == ((), "fp16")


def test_a_missing_extra_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, folder_of: Callable[[str], Path]
) -> None:
    words, none = inspect(folder_of("stable_diffusion")), inspect(folder_of("ddpm"))
    monkeypatch.setattr(cards, "installed", lambda package: False)

    assert none.missing_extra() is None
    assert words.missing_extra() == (
        "text_encoder, tokenizer: expected the package transformers, not installed: "
        "pip install 'trilemma[text]'"
    )


def test_reading_needs_no_torch(folder_of: Callable[[str], Path]) -> None:
    code = (
        "import sys\nfor name in ('torch', 'numpy', 'diffusers', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\nfrom generators.specs.pipelines.reading import inspect\n"
        "card = inspect(Path(sys.argv[1]))\nprint(card.pipeline, card.problems)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code, str(folder_of("ddpm"))],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.stdout == "DDPMPipeline ()\n", answer.stderr


def test_every_class_that_is_named_is_one_of_diffusers_or_transformers() -> None:
    for name in PIPELINES:
        assert hasattr(diffusers, name)
    for module, classes in COMPONENTS.values():
        if module == "diffusers":
            assert [name for name in classes if not hasattr(diffusers, name)] == []
    transformers = pytest.importorskip("transformers")
    gone = {"CLIPFeatureExtractor", "CLIPImageProcessorFast"}  # names of earlier versions
    for module, classes in COMPONENTS.values():
        if module == "transformers":
            assert {name for name in classes if not hasattr(transformers, name)} <= gone


@pytest.mark.parametrize("name", ["..", "a/../b", "/etc", "a//b", "", ".", "a\\b", "a/b "])
def test_a_name_does_not_lead_out_of_the_storage(name: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="expected the name of a folder of the storage, got"):
        folder_within(tmp_path, name)


def test_a_link_does_not_lead_out_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (storage := tmp_path / "storage").mkdir()
    (storage / "tiny").symlink_to(tmp_path / "elsewhere")

    assert folder_within(storage, "ours/ddpm") == storage / "ours" / "ddpm"
    with pytest.raises(PipelineError, match=r"^tiny: expected .*, got a link$"):
        folder_within(storage, "tiny")


def test_parts_of_an_export_are_no_pipeline(tmp_path: Path) -> None:
    for part in ("unet", "scheduler"):
        (tmp_path / part).mkdir()

    (problem,) = inspect(tmp_path).problems

    assert problem.endswith(
        "model_index.json, found none but unet, scheduler, parts without the trilemma.json that "
        "says how to draw with them"
    )
