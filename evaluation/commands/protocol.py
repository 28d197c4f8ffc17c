"""The command `protocol`, and the protocol that the options of a command describe."""

import argparse
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.commands.admit import admission
from evaluation.commands.clip import chosen_clip, chosen_metrics, kept_clip
from evaluation.commands.inputs import (
    open_held_out,
    open_reference,
    prepare_extractor,
    prompts_beside,
)
from evaluation.commands.report import print_record, progress, tell_lossy, write_json
from evaluation.features.base import Extractor
from evaluation.imagesets.opening import ImageStream
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import INCEPTION
from evaluation.protocols.presets import ProtocolPreset, get_preset
from evaluation.protocols.prompts import PromptSet, packaged_prompts, real_pairs
from evaluation.protocols.record import LOSSLESS, LOSSY_ACCEPTED, Protocol
from evaluation.scoring.classes import class_counts
from evaluation.scoring.references import SavedReference


def protocol(options: argparse.Namespace) -> int:
    """Make a protocol with what it needs, and print or write it."""
    preset = chosen_preset(options)
    name = chosen_extractor(options, preset)
    chosen_clip(options)  # what is missing is said before minutes of work
    reference, held_out = open_reference(options, name), open_held_out(options)
    with progress() as bars:
        prepared = prepare_extractor(name, options, reference, bars, keep=True)
        protocol = described_protocol(options, preset, prepared.extractor, reference, held_out)
        kept_clip(options)
        facts = dict(prepared.facts) | _pairs(options, preset, protocol, held_out)
        if options.admission_images:
            facts["admission"] = admission(
                prepared, reference, options, bars, options.admission_images, protocol
            ).to_record()
    tell_lossy(reference, "reference")
    tell_lossy(held_out, "held-out")
    prompts = chosen_prompts(options, preset)
    record = {
        "fingerprint": protocol.fingerprint(),
        "protocol": protocol.to_record(),
        **({} if prompts is None else {"prompts": prompts.to_record()}),
        "weights": None if prepared.weights is None else str(prepared.weights),
        "facts": facts,
    }
    if options.json:
        write_json(options.json, record)
    else:
        print_record(record, as_json=True)
    return 0


def _pairs(
    options: argparse.Namespace,
    preset: ProtocolPreset | None,
    protocol: Protocol,
    held_out: ImageStream | None,
) -> dict[str, bool]:
    """Return that held-out images are real pairs of the prompts, {} if they are not."""
    prompts = chosen_prompts(options, preset)
    if prompts is None or protocol.prompts is None or held_out is None or held_out.captions is None:
        return {}
    found = real_pairs(held_out.captions, prompts, protocol.prompts["images_per_prompt"])
    return {} if found is None else {"real_pairs": True}


def chosen_preset(options: argparse.Namespace) -> ProtocolPreset | None:
    """Return the preset that was asked for; what a protocol or a preset decides is refused."""
    if getattr(options, "protocol", None):
        for name in ("preset", "metrics", "num_images", "labels", "images_per_prompt"):
            _refuse_both(options, "protocol", name)
    if options.preset is None:
        return None
    _refuse_both(options, "preset", "extractor")
    return get_preset(options.preset)


def chosen_prompts(options: argparse.Namespace, preset: ProtocolPreset | None) -> PromptSet | None:
    """Return the prompts that were named; else those of the preset, or in the protocol's file."""
    if options.prompts is not None:
        named: PromptSet = options.prompts
        return named
    if getattr(options, "protocol", None):
        return prompts_beside(options.protocol)
    return packaged_prompts(preset.prompts) if preset and preset.prompts else None


def _refuse_both(options: argparse.Namespace, one: str, other: str) -> None:
    if getattr(options, other):
        raise CommandError(f"expected --{one} or --{other.replace('_', '-')}, got both")


def chosen_extractor(options: argparse.Namespace, preset: ProtocolPreset | None) -> str:
    """Return the name of the extractor that was asked for, Inception if none was."""
    return preset.extractor if preset else options.extractor or INCEPTION


def described_protocol(
    options: argparse.Namespace,
    preset: ProtocolPreset | None,
    extractor: Extractor,
    reference: ImageStream | SavedReference,
    held_out: ImageStream | None,
    generated: ImageStream | None = None,
) -> Protocol:
    """Return the protocol that the options describe."""
    prompts = chosen_prompts(options, preset)
    if options.images_per_prompt and prompts is None:
        raise CommandError("--images-per-prompt: expected --prompts too")
    count = options.num_images or (preset.num_images if preset else None)
    if count is None and preset is None and generated is not None:
        count = generated.count
    return build_protocol(
        _facts(options, reference, held_out, generated),
        extractor=extractor.name,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        dim=extractor.dim,
        metrics=chosen_metrics(options, preset),
        num_images=count,
        reference_split=_reference_split(options),
        labels=options.labels,
        prompts=prompts,
        images_per_prompt=options.images_per_prompt
        or (preset.images_per_prompt if preset else None),
        clip=chosen_clip(options),
        lossy=LOSSY_ACCEPTED if getattr(options, "allow_lossy", False) else LOSSLESS,
    )


def _facts(
    options: argparse.Namespace,
    reference: ImageStream | SavedReference,
    held_out: ImageStream | None,
    generated: ImageStream | None,
) -> DatasetFacts:
    """Return what a protocol needs to know of the real images."""
    facts = _split(reference)
    shape = reference.facts.shape if isinstance(reference, SavedReference) else reference.shape
    which = "reference"
    if shape is None and generated is not None:  # published statistics do not say
        which, shape = "generated", generated.shape
    if shape is None:
        raise CommandError("the reference is published statistics: a protocol needs images")
    if shape[1] != shape[2]:
        raise CommandError(
            f"{which}: images of {shape[2]}x{shape[1]} pixels; expected square ones: crop or resize "
            "them first, as a protocol has one resolution"
        )
    splits = {_reference_split(options): facts}
    if held_out is not None:
        splits["test"] = _split(held_out)
    return DatasetFacts(
        slug=Path(options.reference).name,
        resolution=shape[1],
        channels=shape[0],
        splits=splits,
    )


def _reference_split(options: argparse.Namespace) -> str:
    """Return the reference's name; "test" is the held-out split's where there is one."""
    is_test = options.reference_part == "test" and options.held_out is not None
    return "reference" if is_test else str(options.reference_part)


def _split(images: ImageStream | SavedReference) -> SplitFacts:
    counts = class_counts(images)
    if isinstance(images, SavedReference):
        facts = images.facts
        return SplitFacts(
            facts.digest, facts.count, facts.kind, class_counts=counts, lossy=facts.lossy
        )
    digest = images.digest()  # reads them all
    return SplitFacts(digest, len(images.digests()), class_counts=counts, lossy=images.lossy_count)
