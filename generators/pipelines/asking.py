"""What a pipeline is asked for: labels or texts that it knows, and the words that it would not read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from generators.pipelines.loading import LoadedPipeline
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.options import PipelineSampler

Wanted = list[int] | list[str] | None  # labels, texts, or nothing
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


def wanted_of(
    pipeline: LoadedPipeline,
    labels: np.ndarray | None,
    captions: Sequence[str] | None,
    count: int,
) -> Wanted:
    """Return what each image is asked for by.

    Raises:
        ValueError: if that is not what this pipeline draws by.
    """
    kind = pipeline.card.asked
    names = {"text": "captions", "classes": "labels", "nothing": "neither labels nor captions"}
    given = [name for name, it in (("labels", labels), ("captions", captions)) if it is not None]
    if given != ([] if kind == "nothing" else [names[kind]]):
        found = " and ".join(given) or "none"
        raise ValueError(f"expected {names[kind]} for {pipeline.card.pipeline}, got {found}")
    if labels is not None:
        return _checked_labels(labels, count, pipeline.card.num_classes)
    if captions is None:
        return None
    if len(captions) != count:
        raise ValueError(f"expected {count} captions, got {len(captions)}")
    return list(captions)


def _checked_labels(labels: np.ndarray, count: int, classes: int) -> list[int]:
    if labels.shape != (count,):
        raise ValueError(f"expected {count} labels, got shape {labels.shape}")
    if count and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"expected labels in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return [int(label) for label in labels]


def arguments(
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    wanted: Wanted,
    generators: list[torch.Generator],
) -> dict[str, Any]:
    """Return what diffusers' pipeline is called with for a batch: one generator for each image."""
    card, spec = pipeline.card, pipeline.card.spec
    told: dict[str, Any] = {
        "generator": generators,
        "num_inference_steps": sampler.steps,
        "output_type": "pt" if spec.halves else "np",  # it does not know tensors
        **spec.call,
    }
    if card.call.get("use_clipped_model_output"):
        told["use_clipped_model_output"] = True
    if spec.guidance:
        told["guidance_scale"] = sampler.guidance
    if spec.sized:
        told |= {"height": sampler.height, "width": sampler.width}
    if card.asked == "text":
        told["prompt"] = wanted
    elif card.asked == "classes":
        told["class_labels"] = wanted
    if spec.asked == "nothing":
        told["batch_size"] = len(generators)
    if sampler.negative_prompt:
        told["negative_prompt"] = [sampler.negative_prompt] * len(generators)
    return told


# --- prompts that are too long ------------------------------------------------------------------


def cut_words(pipeline: LoadedPipeline, prompts: Sequence[str]) -> dict[str, str]:
    """Return of each prompt that is too long the words that no text encoder would read."""
    found = {}
    for prompt in dict.fromkeys(prompts):
        cuts = [_cut(tokenizer, limit, prompt) for tokenizer, limit in _readers(pipeline)]
        if cuts and all(cuts):
            found[prompt] = min(cuts, key=len)
    return found


def check_prompts(pipeline: LoadedPipeline, prompts: Sequence[str]) -> None:
    """Raise PipelineError if a prompt is longer than the text encoders read, with what is cut."""
    cut = cut_words(pipeline, prompts)
    if cut:
        prompt, words = next(iter(cut.items()))
        limit = max(limit for _, limit in _readers(pipeline))
        raise PipelineError(
            f"{len(cut)} of {len(set(prompts))} prompts are too long: expected at most {limit} "
            f"tokens; of {_short(prompt)} this would be cut off: {_short(words)} "
            "(long_prompts=cut draws without it)"
        )


def _readers(pipeline: LoadedPipeline) -> list[tuple[Any, int]]:
    """Return each tokenizer with the tokens that its encoder reads."""
    found = [getattr(pipeline.pipe, name, None) for name in TOKENIZERS]
    most = pipeline.card.spec.tokens
    return [
        (reader, most if type(reader).__name__.startswith("T5") else reader.model_max_length)
        for reader in found
        if reader is not None
    ]


def _cut(tokenizer: Any, limit: int, prompt: str) -> str:
    """Return the words after those that fit, with a place kept for the token at the end."""
    tokens = tokenizer(prompt, truncation=False, verbose=False).input_ids
    if len(tokens) <= limit:
        return ""
    words: str = tokenizer.decode(tokens[limit - 1 : -1], skip_special_tokens=True)
    return words.strip() or "its last tokens"


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
