"""A CLIP-like model from a folder: images and texts to unit vectors in one space.

The folder is as `save_pretrained` of transformers writes it. Nothing is downloaded, no code of the
folder runs, and weights are read from safetensors alone.

Source: Radford et al., 2021, "Learning transferable visual models from natural language supervision".
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from evaluation.features.base import ExtractorError, full_precision
from evaluation.imagesets.atomic import files_sha256, replacing_folder
from evaluation.protocols.agreement import MISSING_EXTRA, ClipIdentity

CONFIG = "config.json"
PIXELS = "preprocessor_config.json"
TOKENIZER = "tokenizer.json"
VOCABULARY = ("vocab.json", "merges.txt")  # what there may be instead of a tokenizer.json
MORE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"  # of weights in several files
PICKLES = (".bin", ".pt", ".ckpt", ".pth")
TEXTS = 256  # encoded at a time


class ClipModel:
    """A frozen CLIP: unit vectors of images and of texts, (N, D) float32 on the CPU."""

    batch_size = 64

    def __init__(self, identity: ClipIdentity, parts: tuple[Any, Any, Any], device: str) -> None:
        """Take the model's tokenizer, its image processor and the model."""
        self.identity = identity
        self._tokenizer, self._processor, model = parts
        self._model = model.eval().requires_grad_(False).to(device)
        self._device = device
        self.most_tokens = int(model.config.text_config.max_position_embeddings)

    @classmethod
    def of(cls, folder: Path, *, device: str = "cpu", name: str = "") -> Self:
        """Return the model in a folder; name = what people call it, "" = as the folder is.

        Raises:
            ExtractorError: if a file is missing, or the folder holds no CLIP; the message says what
                was expected there.
        """
        identity = identify(folder, name)
        try:
            parts = _read(folder)
        except ModuleNotFoundError as error:
            raise ExtractorError(f"{identity.label} {MISSING_EXTRA}") from error
        except Exception as error:  # transformers and tokenizers raise nothing more special
            raise _wrong(folder, f"transformers cannot read it ({error})"[:500]) from error
        return cls(identity, parts, device)

    def images(self, pixels: np.ndarray) -> Tensor:
        """Return the vectors of uint8 images (N, C, H, W), C is 1 or 3."""
        coloured = np.broadcast_to(pixels, (len(pixels), 3, *pixels.shape[2:]))
        parts = np.array_split(coloured, -(-len(pixels) // self.batch_size))
        with torch.inference_mode(), full_precision():
            found = [
                self._unit(self._model.get_image_features(pixel_values=self._prepared(part)))
                for part in parts
            ]
        return torch.cat(found)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of texts; what is beyond the model's length is cut."""
        found = []
        for start in range(0, len(texts), TEXTS):
            tokens = self._tokenizer(
                list(texts[start : start + TEXTS]),
                padding=True,
                truncation=True,
                max_length=self.most_tokens,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode(), full_precision():
                found.append(self._unit(self._model.get_text_features(**tokens)))
        return torch.cat(found)

    def is_cut(self, text: str) -> bool:
        """Return whether the model reads less than all of a text."""
        return len(self._tokenizer(text, verbose=False)["input_ids"]) > self.most_tokens

    def _prepared(self, part: np.ndarray) -> Tensor:
        images = list(part.transpose(0, 2, 3, 1))  # (H, W, 3)
        ready = self._processor(images, input_data_format="channels_last", return_tensors="pt")
        prepared: Tensor = ready["pixel_values"].to(self._device)
        return prepared

    def _unit(self, found: Any) -> Tensor:
        vectors: Tensor = found.pooler_output
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu()


def identify(folder: Path, name: str = "") -> ClipIdentity:
    """Return what a folder's model is known by, from the files that are read and nothing else.

    Raises:
        ExtractorError: if one of these is missing, or the model is no CLIP of transformers.
    """
    return ClipIdentity(name or folder.resolve().name, files_sha256(_files(folder)))


def find_clip(wanted: ClipIdentity, given: Path | None, kept: Path, *, device: str) -> ClipModel:
    """Return the wanted model: from the given folder, else from the one among kept weights.

    Raises:
        ExtractorError: if it is not there, or is another; the message says where to put it.
    """
    folder = given or kept / wanted.folder
    if given is None and not folder.is_dir():
        raise ExtractorError(
            f"{wanted.label}: expected the model of sha256 {wanted.sha256}; put its folder, as "
            f"save_pretrained of transformers writes it, at {folder}, or name it with --clip"
        )
    model = ClipModel.of(folder, device=device, name=wanted.name)
    if model.identity.sha256 != wanted.sha256:
        raise ExtractorError(
            f"{folder}: has sha256 {model.identity.sha256}; expected the model of {wanted.label}, "
            f"{wanted.sha256}"
        )
    return model


def keep_clip(folder: Path, identity: ClipIdentity, kept: Path) -> Path:
    """Return a copy of a model among kept weights: of the files that are read, whole or not at all."""
    target = kept / identity.folder
    if not target.is_dir():
        with replacing_folder(target) as part:
            for file in _files(folder):
                shutil.copyfile(file, part / file.name)
    return target


def _wrong(folder: Path, message: str) -> ExtractorError:
    return ExtractorError(f"{folder}: {message}")


def _files(folder: Path) -> list[Path]:
    """Return the files that are read, in the order of their names."""
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing there"
        raise _wrong(folder, f"expected the folder of a CLIP-like model, found {found}")
    _check_config(folder)
    here = {file.name for file in folder.iterdir()}
    if TOKENIZER not in here and (lacking := [each for each in VOCABULARY if each not in here]):
        raise _wrong(
            folder, f"expected the tokenizer's {TOKENIZER}, or {lacking[0]}; neither is there"
        )
    names = [CONFIG, PIXELS, *(each for each in (TOKENIZER, *VOCABULARY, *MORE) if each in here)]
    return sorted(folder / name for name in (*names, *_weights(folder, here)))


def _check_config(folder: Path) -> None:
    for name in (CONFIG, PIXELS):
        if not (folder / name).is_file():
            raise _wrong(folder, f"expected the model's {name} there, there is none")
    for name in (CONFIG, PIXELS):
        try:
            config = json.loads((folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise _wrong(folder, f"{name} cannot be read ({error})") from error
        if not isinstance(config, dict) or "auto_map" in config:
            raise _wrong(folder, f"expected a {name} of transformers' own classes, no other code")
        kind = config.get("model_type", "clip")
        if name == CONFIG and kind != "clip":
            raise _wrong(folder, f"expected a model of the type clip, got {kind!r}"[:200])


def _weights(folder: Path, here: set[str]) -> list[str]:
    if WEIGHTS in here:
        return [WEIGHTS]
    if INDEX in here:
        return [INDEX, *_parts(folder, here)]
    pickles = sorted(name for name in here if name.endswith(PICKLES))
    found = f"{pickles[0]}, a pickle, which may run code" if pickles else "none"
    raise _wrong(folder, f"expected weights in {WEIGHTS}, found {found}")


def _parts(folder: Path, here: set[str]) -> list[str]:
    try:
        parts = {
            str(name) for name in json.loads((folder / INDEX).read_text())["weight_map"].values()
        }
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _wrong(folder, f"{INDEX} cannot be read ({error!r})") from error
    if missing := sorted(parts - here):
        raise _wrong(folder, f"expected {missing[0]}, which {INDEX} names; it is not there")
    return sorted(parts)


def _read(folder: Path) -> tuple[Any, Any, Any]:
    """Return tokenizer, image processor and model, float32, on the CPU."""
    import transformers as hf  # noqa: PLC0415  # an extra, and slow to import

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model, info = hf.CLIPModel.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **here
    )
    if missing := sorted(info["missing_keys"]):
        raise ValueError(f"its weights lack {missing[0]}")
    tokenizer = hf.CLIPTokenizer.from_pretrained(folder, **here)
    return tokenizer, hf.CLIPImageProcessorPil.from_pretrained(folder, **here), model
