"""The command `scenes`: write captioned scenes whose content can be read back."""

import argparse
from pathlib import Path

from evaluation.commands.inputs import CommandError
from evaluation.commands.report import say
from evaluation.imagesets.writing import write_npz
from evaluation.scenes.drawing import Part, draw_scenes


def scenes(options: argparse.Namespace) -> int:
    """Write one split as a file, or both as a folder that datasets are registered from."""
    out: Path = options.out
    if (out.suffix == ".npz") != (options.split is not None):
        raise CommandError(f"--out: expected FILE.npz with --split, or a folder without; got {out}")
    if options.split is not None:
        _write(out, options.num, options.split, options)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "train.npz", options.num, "train", options)
    _write(out / "test.npz", options.num_test, "test", options)
    return 0


def _write(path: Path, count: int, split: Part, options: argparse.Namespace) -> None:
    drawn = draw_scenes(count, options.side, options.seed, split)
    digest = write_npz(path, drawn.pixels, None, captions=drawn.captions)
    distinct = len(set(drawn.captions))
    say(f"{path}: {count:,} {split} scenes, {distinct:,} distinct captions, sha256 {digest}")
