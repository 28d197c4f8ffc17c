"""The CLIP-like model that a command's options or its protocol name."""

import argparse
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.features.clip import ClipModel, find_clip, identify, keep_clip
from evaluation.protocols.agreement import CLIP_SCORE, ClipIdentity, check_extra
from evaluation.protocols.presets import ProtocolPreset
from evaluation.protocols.record import Protocol


def chosen_clip(options: argparse.Namespace) -> ClipIdentity | None:
    """Return the model whose folder was named, None if none was.

    Raises:
        CommandError: if nothing would use it.
        ProtocolError: if the extra is missing that it needs.
        ExtractorError: if a file is missing.
    """
    if options.clip is None:
        return None
    check_extra({CLIP_SCORE: {}})
    if options.metrics and CLIP_SCORE not in options.metrics:
        raise CommandError(f"--clip: expected {CLIP_SCORE} among --metrics, which alone uses it")
    return identify(options.clip)


def chosen_metrics(
    options: argparse.Namespace, preset: ProtocolPreset | None
) -> tuple[str, ...] | None:
    """Return the metrics that were asked for; a model that was named adds its own to a preset's."""
    named: tuple[str, ...] | None = options.metrics or (preset.metrics if preset else None)
    if named and options.clip is not None and CLIP_SCORE not in named:
        return (*named, CLIP_SCORE)
    return named


def open_clip(options: argparse.Namespace, protocol: Protocol) -> ClipModel | None:
    """Return the model that a protocol needs: in the folder that was named, else a kept one.

    Raises:
        CommandError: if one was named that nothing uses.
        ExtractorError: if it is missing or another.
    """
    wanted = ClipIdentity.of(protocol.metrics)
    if wanted is None and options.clip is not None:
        raise CommandError("--clip: expected none, as the protocol measures no agreement by one")
    if wanted is None:
        return None
    return find_clip(wanted, options.clip, options.cache, device=options.device)


def kept_clip(options: argparse.Namespace) -> Path | None:
    """Return the copy of the named model among kept weights, None if none was named."""
    if options.clip is None:
        return None
    return keep_clip(options.clip, identify(options.clip), options.cache)
