"""The commands `scenes` and `prompts`: captioned scenes that can be read back, and their prompts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.commands.report import say, write_json
from evaluation.imagesets.writing import write_npz
from evaluation.protocols.prompts import PromptSet, packaged_prompts
from evaluation.scenes.claims import Claims, read_claims
from evaluation.scenes.drawing import Part, draw_scenes
from evaluation.scenes.prompt_set import SCENES
from evaluation.scenes.rendering import Pixels
from evaluation.scoring.controls import asked_scenes


def scenes(options: argparse.Namespace) -> int:
    """Write one split or the answers to prompts as a file, or both splits as a folder."""
    out: Path = options.out
    is_file = options.split is not None or options.prompts is not None
    if (out.suffix == ".npz") != is_file:
        raise CommandError(
            f"--out: expected FILE.npz with --split or --prompts, else a folder; got {out}"
        )
    if options.shuffled and options.prompts is None:
        raise CommandError("--shuffled: expected --prompts too")
    if options.prompts is not None:
        _write_asked(out, options.prompts, options)
    elif options.split is not None:
        _write_drawn(out, options.num, options.split, options)
    else:
        out.mkdir(parents=True, exist_ok=True)
        _write_drawn(out / "train.npz", options.num, "train", options)
        _write_drawn(out / "test.npz", options.num_test, "test", options)
    return 0


def prompts(options: argparse.Namespace) -> int:
    """Write the packaged prompts, and say what they are."""
    found = packaged_prompts(SCENES)
    write_json(options.out, found.to_record())
    say(f"{options.out}: {len(found.prompts)} prompts, digest {found.digest()}")
    return 0


def _write_drawn(path: Path, count: int, split: Part, options: argparse.Namespace) -> None:
    drawn = draw_scenes(count, options.side, options.seed, split)
    _write(path, drawn.pixels, drawn.captions, f"{split} scenes")


def _write_asked(path: Path, asked: PromptSet, options: argparse.Namespace) -> None:
    count = options.images_per_prompt * len(asked.prompts)
    pixels = asked_scenes(
        _claims(asked), count, options.side, seed=options.seed, shuffled=options.shuffled
    )
    kind = "scenes for prompts in another order" if options.shuffled else "scenes for prompts"
    _write(path, pixels, asked.texts_of(count), kind)


def _claims(asked: PromptSet) -> list[Claims]:
    for prompt in asked.prompts:
        if prompt.claims is None:
            raise CommandError(f"--prompts: expected claims of every prompt, {prompt.id} has none")
    return [read_claims(prompt.claims) for prompt in asked.prompts]


def _write(path: Path, pixels: Pixels, captions: Sequence[str], kind: str) -> None:
    digest = write_npz(path, pixels, None, captions=captions)
    distinct = len(set(captions))
    say(f"{path}: {len(pixels):,} {kind}, {distinct:,} distinct captions, sha256 {digest}")
