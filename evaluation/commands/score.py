"""The command `score`: measure generated images against real ones."""

import argparse
from collections.abc import Collection
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.commands.clip import chosen_clip, open_clip
from evaluation.commands.inputs import (
    feature_cache,
    open_held_out,
    open_reference,
    open_set,
    part_of,
    prepare_extractor,
    read_protocol,
)
from evaluation.commands.protocol import (
    chosen_extractor,
    chosen_preset,
    chosen_prompts,
    described_protocol,
)
from evaluation.commands.report import (
    print_result,
    progress,
    result_record,
    tell_lossy,
    tell_statistics,
    warn,
    write_json,
)
from evaluation.imagesets.lint import lint, shared_images
from evaluation.imagesets.opening import ImageStream
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.record import LOSSY_ACCEPTED, Protocol
from evaluation.scoring.classes import label_warning
from evaluation.scoring.evaluate import evaluate_images, stages
from evaluation.scoring.published import published_beside
from evaluation.scoring.references import SavedReference


def score(options: argparse.Namespace) -> int:
    """Score, write, print, warn of what spoils a score.

    1. Open all sets. 2. Build the extractor and the protocol, or check the given one. 3. Measure.
    """
    preset = chosen_preset(options)
    given = read_protocol(options.protocol) if options.protocol else None
    if given:
        given.check_packages()
    chosen_clip(options)  # what is missing is said before minutes of work
    prompts = chosen_prompts(options, preset)
    name = given.extractor.name if given else chosen_extractor(options, preset)
    if options.extractor not in (None, name):
        raise CommandError(f"--extractor: the protocol's is {name}, got {options.extractor}")
    generated = open_set(
        options.generated,
        "generated images",
        part=options.part,
        labelled=prompts is not None
        or _needs_labels(given.metrics if given else options.metrics or ()),
        lossy="accept" if _lossy_allowed(options, given) else "refuse",
    )
    reference = open_reference(
        options, name, statistics=given is not None and given.reference.kind == "statistics"
    )
    if isinstance(reference, SavedReference) and not (given or preset or options.extractor):
        name = reference.facts.extractor
    held_out = open_held_out(options)
    with progress() as bars:
        prepared = prepare_extractor(name, options, reference, bars)
        protocol = given or described_protocol(
            options, preset, prepared.extractor, reference, held_out, generated
        )
        task = bars.add_task("scoring", total=1.0)
        order = stages(protocol)
        result = evaluate_images(
            protocol,
            generated,
            reference,
            extractor=prepared.extractor,
            held_out=held_out,
            prompts=prompts,
            clip=open_clip(options, protocol),
            published=published_beside(reference, Path(options.reference), prepared.extractor),
            batch_size=options.batch_size,
            on_progress=lambda stage, share: bars.update(
                task, description=stage, completed=(order.index(stage) + share) / len(order)
            ),
            cache=feature_cache(options),
        )
    found = lint(generated)
    copies = _copies(generated, reference)
    if options.json:
        facts = {
            "facts": prepared.facts,
            "generated": found.to_record() | {"copies_of_reference": copies},
        }
        write_json(options.json, result_record(result, protocol) | facts)
    print_result(result, protocol)
    tell_statistics(Path(options.reference), reference, result.statistics)
    tell_lossy(reference, "reference")
    tell_lossy(held_out, "held-out")
    part = part_of(options.generated, options.part)
    labels = label_warning(options.generated, part, reference.classes, protocol)
    for line in (*found.warnings(), *filter(None, [labels])):
        warn(f"generated images: {line}")
    if copies:
        warn(f"generated images: {copies} of {found.count} are exact copies of reference images")
    return 0


def _copies(generated: ImageStream, reference: ImageStream | SavedReference) -> int | None:
    """Return how many generated images are reference images, None where those are not known."""
    digests = (
        reference.image_digests if isinstance(reference, SavedReference) else reference.digests()
    )
    return None if digests is None else shared_images(generated.digests(), digests)


def _needs_labels(metrics: Collection[str]) -> bool:
    return any("labels" in METRICS[name].needs for name in metrics)


def _lossy_allowed(options: argparse.Namespace, given: Protocol | None) -> bool:
    if given is None:
        return bool(options.allow_lossy)
    if options.allow_lossy and given.images.lossy != LOSSY_ACCEPTED:
        raise CommandError(f"--allow-lossy: the protocol says: {given.images.lossy}")
    return given.images.lossy == LOSSY_ACCEPTED
