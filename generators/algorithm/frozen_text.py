"""A text encoder from a folder, with its tokenizer: used as it is, trained by nobody here.

The folder is as `save_pretrained` of transformers writes it. Nothing is downloaded, no code of the
folder runs, and weights are read from safetensors alone.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from evaluation.imagesets.atomic import files_sha256
from generators.specs.conditions import MOST_TOKENS, ConditionError, Conditions, FrozenText
from generators.specs.options import ConfigError

CONFIG = "config.json"
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")  # any of these
READ = (".json", ".txt", ".model", ".safetensors")  # endings of what transformers reads
PICKLES = (".bin", ".pt", ".ckpt", ".pth")
CLIP = ("clip", "clip_text_model")  # whose text part is a class of its own


class FrozenEncoder:
    """Captions to ids, and rows of ids to hidden states."""

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self._tokenizer = tokenizer
        self._model = model.eval().requires_grad_(False)
        self._last: tuple[Tensor, Tensor] | None = None
        self.width = int(model.config.hidden_size)
        self.embeddings = int(model.get_input_embeddings().num_embeddings)
        positions = getattr(model.config, "max_position_embeddings", None)
        self.most_tokens = min(positions or MOST_TOKENS, MOST_TOKENS)

    @classmethod
    def of(cls, frozen: FrozenText) -> Self:
        """Return the encoder in a folder, loaded once in a process.

        Raises:
            ConfigError: if it cannot be used, or is no longer the one that a manifest knows.
        """
        encoder: Self = _loaded(frozen)
        return encoder

    def ids(self, caption: str) -> list[int]:
        """Return a caption's tokens, those that begin and end it included.

        Raises:
            ConditionError: if there are none, or more than the encoder reads.
        """
        found: list[int] = self._tokenizer(caption)["input_ids"]
        if not 1 <= len(found) <= self.most_tokens:
            raise ConditionError(
                f"expected 1 to {self.most_tokens} tokens, as the text encoder reads, got {len(found)}"
            )
        return found

    @torch.no_grad()
    def hidden(self, rows: Tensor) -> Tensor:
        """Return the last hidden state of each token, (N, L, width) float32; zeros of what pads.

        Those of the rows before are kept: a walk asks for the same ones in each step.

        Args:
            rows: (N, L) int64, a token's id + 1, and 0 where there is none.
        """
        if self._last is not None and torch.equal(self._last[0].to(rows.device), rows):
            return self._last[1].to(rows.device)
        mask = rows > 0
        attended = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1).long()
        with torch.autocast(rows.device.type, enabled=False):
            model = self._model.to(rows.device)
            states = model(input_ids=(rows - 1).clamp_min(0), attention_mask=attended)
        found: Tensor = states.last_hidden_state.float() * mask[:, :, None]
        self._last = rows.clone(), found
        return found


class Held:
    """What a network uses and does not own: no parameter of it, and the same in its copies."""

    def __init__(self, kept: FrozenEncoder) -> None:
        self.kept = kept

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def conditions_of(folder: str, captions: Iterable[str]) -> Conditions:
    """Return the conditions of a model whose captions the encoder in a folder reads.

    Raises:
        ConfigError: if the folder cannot be used; the message says why.
        ConditionError: if a caption is empty or has more tokens than the encoder reads.
    """
    _check_folder(Path(folder))
    return Conditions.of_frozen(FrozenText(folder, digest_of(Path(folder))), captions)


def digest_of(folder: Path) -> str:
    """Return the sha256 of the folder's files that are read: of their names and hashes."""
    files = sorted(file for file in folder.iterdir() if file.suffix in READ and file.is_file())
    return files_sha256(files)


def _wrong(folder: Path | str, message: str) -> ConfigError:
    return ConfigError({"text_encoder": f"{folder}: {message}"})


def _check_folder(folder: Path) -> None:
    """Refuse a folder before anything in it is opened but its configuration."""
    if not folder.is_dir():
        found = "a file" if folder.is_file() else "nothing there"
        raise _wrong(
            folder, f"expected a folder with a text encoder and its tokenizer, found {found}"
        )
    names = {file.name for file in folder.iterdir()}
    if CONFIG not in names:
        raise _wrong(folder, f"expected the text encoder's {CONFIG}, there is none")
    if not names.intersection(TOKENIZERS):
        raise _wrong(folder, f"expected a tokenizer, one of {', '.join(TOKENIZERS)}")
    if not any(name.endswith(".safetensors") for name in names):
        pickles = sorted(name for name in names if name.endswith(PICKLES))
        found = f"{pickles[0]}, a pickle, which may run code" if pickles else "none"
        raise _wrong(folder, f"expected weights in a .safetensors file, found {found}")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(folder, f"{CONFIG} cannot be read ({error})") from error
    if not isinstance(config, dict) or "auto_map" in config:
        raise _wrong(folder, f"expected a {CONFIG} of transformers' own classes, no other code")


@lru_cache(maxsize=2)
def _loaded(frozen: FrozenText) -> Any:
    folder = Path(frozen.folder)
    _check_folder(folder)
    if digest_of(folder) != frozen.sha256:
        raise _wrong(folder, f"expected the text encoder of the training, sha256 {frozen.sha256}")
    try:
        encoder = FrozenEncoder(*_read(folder))
    except ModuleNotFoundError as error:
        message = "expected the package transformers: pip install 'trilemma[text]'"
        raise _wrong(folder, message) from error
    except Exception as error:  # tokenizers raises nothing more special
        raise _wrong(folder, f"transformers cannot read it ({error})"[:500]) from error
    _check_fit(folder, encoder)
    return encoder


def _read(folder: Path) -> tuple[Any, Any]:
    """Return the tokenizer and the encoder, float32, on the CPU."""
    import transformers as hf  # noqa: PLC0415  # an extra, and slow to import

    here: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    kind = hf.AutoConfig.from_pretrained(folder, **here).model_type
    model_class = hf.CLIPTextModel if kind in CLIP else hf.AutoModelForTextEncoding
    model, info = model_class.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **here
    )
    if missing := sorted(info["missing_keys"]):
        raise ValueError(f"its weights lack {missing[0]}")
    return hf.AutoTokenizer.from_pretrained(folder, **here), model


def _check_fit(folder: Path, encoder: FrozenEncoder) -> None:
    largest = max(encoder._tokenizer.get_vocab().values(), default=0)
    if largest >= encoder.embeddings:
        raise _wrong(
            folder,
            f"expected a tokenizer whose ids are below {encoder.embeddings:,}, as many as the text "
            f"encoder has embeddings, its largest is {largest:,}",
        )
