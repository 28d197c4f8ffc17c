"""What a command line asks for: one class, or of each its share; one prompt, or many in turn."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from generators.specs.conditions import ConditionError
from generators.trained.inspection import repeated
from generators.trained.labels import balanced_labels, check_seen, labels_by_share
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import Wanted

MAX_PROMPTS = 16 * 2**20  # bytes of a file
NEEDS_WORDS = "the generator draws what words ask for: expected "


def chosen_label(options: argparse.Namespace, generator: LoadedGenerator) -> int | str | None:
    """Return the class or the prompt that the command line names; None where it names none.

    Raises:
        ValueError: if the generator has no such class or never saw it, or does not know the words.
    """
    prompt: str | None = options.prompt
    if prompt is not None:
        _check_prompt(prompt, generator, "--prompt")
        return prompt
    label: int | None = options.label
    if label is None:
        return None
    if generator.conditions.by_text:
        raise ValueError(f"--label: the generator obeys {_texts(generator)}, expected --prompt")
    if not generator.num_classes:
        raise ValueError("--label: the generator is unconditional")
    if label >= generator.num_classes:
        raise ValueError(f"--label: expected 0..{generator.num_classes - 1}, got {label}")
    if generator.class_counts and not generator.class_counts[label]:
        raise ValueError(f"--label: the generator never saw an image of class {label}")
    return label


def one_label(options: argparse.Namespace, generator: LoadedGenerator) -> int | str | None:
    """Return the class or prompt that the command line names, or the first class of a generator."""
    label = chosen_label(options, generator)
    if label is not None or not generator.conditions.given:
        return label
    if generator.conditions.by_text:
        raise ValueError(f"{NEEDS_WORDS}--prompt")
    return next((k for k, count in enumerate(generator.class_counts or ()) if count), 0)


def wanted_labels(options: argparse.Namespace, generator: LoadedGenerator, count: int) -> Wanted:
    """Return a label (count,) int64 or a prompt for each image; None for an unconditional generator.

    Raises:
        ValueError: if the generator does not have the classes that the command line asks for, or
            does not know the words.
    """
    if options.prompt is not None:
        return _in_turn([options.prompt], ["--prompt"], generator, count)
    if options.prompts is not None:
        found = read_prompts(options.prompts)
        named = f"--prompts: {options.prompts}: prompt"
        return _in_turn(found, [f"{named} {k + 1}" for k in range(len(found))], generator, count)
    label = chosen_label(options, generator)
    if label is not None:
        return repeated(label, count)
    if generator.conditions.by_text and options.labels is None:
        raise ValueError(f"{NEEDS_WORDS}--prompt or --prompts")
    if not generator.num_classes and options.labels is None:
        return None
    shares = _shares(options.labels, generator)
    if shares is None:
        return balanced_labels(count, generator.num_classes)
    return labels_by_share(count, shares)


def _in_turn(
    prompts: list[str], options: list[str], generator: LoadedGenerator, count: int
) -> list[str]:
    for prompt, option in zip(prompts, options, strict=True):
        _check_prompt(prompt, generator, option, is_drawn=True)
    return [prompts[index % len(prompts)] for index in range(count)]


def read_prompts(file: Path) -> list[str]:
    """Return the prompts of a .txt file, a line each, or of a .json file with a list of them.

    A list may also be one of objects with a `text`, under `prompts`, as sets of prompts are written.

    Raises:
        ValueError: if it holds none, or cannot be read.
    """
    try:
        if file.stat().st_size > MAX_PROMPTS:
            raise ValueError(f"expected at most {MAX_PROMPTS:,} bytes")
        text = file.read_text("utf-8-sig")
        found = json.loads(text) if file.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"--prompts: {file}: cannot be read ({reason})") from error
    if isinstance(found, dict):
        found = found.get("prompts")
    parts = found if isinstance(found, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    prompts = [text for text in texts if isinstance(text, str) and text.strip()]
    if not prompts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"--prompts: {file}: expected a prompt in each line, or a list of texts")
    return prompts


def _check_prompt(
    prompt: str, generator: LoadedGenerator, option: str, *, is_drawn: bool = False
) -> None:
    """Refuse a prompt that cannot be asked for; is_drawn: where a caption may stand in."""
    if not generator.conditions.by_text:
        raise ValueError(f"{option.partition(':')[0]}: the generator obeys no words")
    try:
        if generator.conditions.knows(prompt) or not is_drawn:
            generator.conditions.row(prompt)
    except ConditionError as error:
        raise ValueError(f"{option}: {error}") from error


def _texts(generator: LoadedGenerator) -> str:
    return "whole captions" if generator.conditions.captions else "words"


def _shares(rule: str | list[int] | None, generator: LoadedGenerator) -> Sequence[int] | None:
    """Return the classes' shares, None for all in turn: nothing was asked for, or is known."""
    counts = generator.class_counts
    if not generator.num_classes:
        obeys = f"obeys {_texts(generator)}"
        kind = obeys if generator.conditions.by_text else "is unconditional"
        raise ValueError(f"--labels: the generator {kind}")
    if isinstance(rule, list):
        _check_shares(rule, generator)
        return rule
    if rule == "training" and counts is None:
        raise ValueError(
            "--labels: the checkpoint is of an earlier Trilemma and does not say how many images "
            "each class had; expected uniform or a share for each class"
        )
    return [min(n, 1) for n in counts] if rule == "uniform" and counts else counts


def _check_shares(shares: list[int], generator: LoadedGenerator) -> None:
    if len(shares) != generator.num_classes or not any(shares):
        raise ValueError(
            f"--labels: expected a share for each of {generator.num_classes} classes, one above 0; "
            f"got {','.join(map(str, shares))}"[:300]
        )
    try:
        check_seen(shares, generator.class_counts or [1] * generator.num_classes)
    except ValueError as error:
        raise ValueError(f"--labels: {error}") from error
