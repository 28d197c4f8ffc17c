"""The command line: ``python -m evaluation score|compare|protocol|admit|reference|…``."""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress

from evaluation.commands.arguments import build_parser
from evaluation.commands.inputs import (
    CommandError,
    Prepared,
    feature_cache,
    keep_weights,
    labelled,
    open_held_out,
    open_reference,
    open_set,
    prepare_extractor,
    read_protocol,
    trained_classifier,
)
from evaluation.commands.report import (
    print_admission,
    print_record,
    print_references,
    print_result,
    progress,
    result_record,
    say,
    warn,
    write_json,
)
from evaluation.features.base import Extractor, ExtractorError
from evaluation.features.inception import InceptionExtractor, find_weights
from evaluation.imagesets.in_memory import ImageError
from evaluation.imagesets.lint import lint, shared_images
from evaluation.imagesets.opening import ImageStream
from evaluation.imagesets.subsets import choose
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.extractor_specs import INCEPTION
from evaluation.protocols.extractors import get_extractor, has_known_weights
from evaluation.protocols.metrics import METRICS
from evaluation.protocols.presets import Preset, get_preset
from evaluation.protocols.record import LOSSLESS, LOSSY_ACCEPTED, Protocol, differences
from evaluation.scoring.admission import Admission, admit
from evaluation.scoring.evaluate import EvaluationError, evaluate_images, stages
from evaluation.scoring.references import (
    SavedReference,
    SavedReferenceError,
    build_reference,
    import_statistics,
    list_references,
)

EXIT_DIFFERENT = 1
EXIT_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 (a plain no) or 2 (an error)."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "score": _score,
        "compare": _compare,
        "protocol": _protocol,
        "admit": _admit,
        "reference": _reference,
        "classifier": _classifier,
        "inception": _inception,
    }
    options = build_parser(commands).parse_args(arguments)
    try:
        _check_json(options)
        status: int = options.command(options)
    except (
        CommandError,
        EvaluationError,
        ExtractorError,
        ImageError,
        ProtocolError,
        SavedReferenceError,
        OSError,
        torch.OutOfMemoryError,
    ) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_ERROR
    return status


def _check_json(options: argparse.Namespace) -> None:
    """Refuse a file that cannot be written before the work, not after it."""
    path = getattr(options, "json", None)
    if isinstance(path, Path) and not path.absolute().parent.is_dir():
        raise CommandError(f"--json: the folder {path.absolute().parent} does not exist")


# --- score ------------------------------------------------------------------------------------


def _score(options: argparse.Namespace) -> int:
    """Score, print, warn of what spoils a score, write.

    1. Open all sets. 2. Build the extractor and the protocol, or check the given one. 3. Measure.
    """
    preset = _preset(options)
    given = read_protocol(options.protocol) if options.protocol else None
    if given:
        given.check_packages()
    name = given.extractor.name if given else _extractor_name(options, preset)
    if options.extractor not in (None, name):
        raise CommandError(f"--extractor: the protocol's is {name}, got {options.extractor}")
    generated = open_set(
        options.generated,
        "generated images",
        part=options.part,
        labelled=_needs_labels(given.metrics if given else options.metrics or ()),
        lossy="accept" if _lossy_allowed(options, given) else "refuse",
    )
    reference = open_reference(options, name)
    if isinstance(reference, SavedReference) and not (given or preset or options.extractor):
        name = reference.facts.extractor
    held_out = open_held_out(options)
    with progress() as bars:
        prepared = prepare_extractor(name, options, reference, bars)
        protocol = given or _build(
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
            batch_size=options.batch_size,
            on_progress=lambda stage, share: bars.update(
                task, description=stage, completed=(order.index(stage) + share) / len(order)
            ),
            cache=feature_cache(options),
        )
    print_result(result, protocol)
    found = _look_over(generated, reference)
    if options.json:
        facts = {"facts": prepared.facts, "generated": found}
        write_json(options.json, result_record(result, protocol) | facts)
    return 0


def _look_over(generated: ImageStream, reference: ImageStream | SavedReference) -> dict[str, Any]:
    """Warn of copies, blank and lossy images; return what was found as plain JSON values."""
    found = lint(generated)
    for line in found.warnings():
        warn(f"generated images: {line}")
    digests = (
        reference.image_digests if isinstance(reference, SavedReference) else reference.digests()
    )
    copies = None if digests is None else shared_images(generated.digests(), digests)
    if copies:
        warn(f"generated images: {copies} of {found.count} are exact copies of reference images")
    return found.to_record() | {"copies_of_reference": copies}


def _preset(options: argparse.Namespace) -> Preset | None:
    """Return the preset that was asked for; what a protocol or a preset decides is refused."""
    if getattr(options, "protocol", None):
        for name in ("preset", "metrics", "num_images"):
            _refuse_both(options, "protocol", name)
    if options.preset is None:
        return None
    _refuse_both(options, "preset", "extractor")
    return get_preset(options.preset)


def _refuse_both(options: argparse.Namespace, one: str, other: str) -> None:
    if getattr(options, other):
        raise CommandError(f"expected --{one} or --{other.replace('_', '-')}, got both")


def _extractor_name(options: argparse.Namespace, preset: Preset | None) -> str:
    return preset.extractor if preset else options.extractor or INCEPTION


def _needs_labels(metrics: Collection[str]) -> bool:
    return any("labels" in METRICS[name].needs for name in metrics)


def _lossy_allowed(options: argparse.Namespace, given: Protocol | None) -> bool:
    if given is None:
        return bool(options.allow_lossy)
    if options.allow_lossy and given.images.lossy != LOSSY_ACCEPTED:
        raise CommandError(f"--allow-lossy: the protocol says: {given.images.lossy}")
    return given.images.lossy == LOSSY_ACCEPTED


# --- protocols --------------------------------------------------------------------------------


def _build(
    options: argparse.Namespace,
    preset: Preset | None,
    extractor: Extractor,
    reference: ImageStream | SavedReference,
    held_out: ImageStream | None,
    generated: ImageStream | None = None,
) -> Protocol:
    """Return the protocol that the options describe."""
    count = options.num_images or (preset.num_images if preset else None)
    if count is None and preset is None and generated is not None:
        count = generated.count
    return build_protocol(
        _facts(options, reference, held_out, generated),
        extractor=extractor.name,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        dim=extractor.dim,
        metrics=options.metrics or (preset.metrics if preset else None),
        num_images=count,
        reference_split=_reference_split(options),
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
    if isinstance(images, SavedReference):
        return SplitFacts(images.facts.digest, images.facts.count, images.facts.kind)
    return SplitFacts(images.digest(), len(images.digests()))


def _compare(options: argparse.Namespace) -> int:
    a, b = read_protocol(options.a), read_protocol(options.b)
    reasons = differences(a, b)
    if not reasons:
        say(f"comparable: both have the fingerprint {a.fingerprint()}")
        return 0
    say("not comparable:")
    for reason in reasons:
        say(f"  {reason}")
    return EXIT_DIFFERENT


def _protocol(options: argparse.Namespace) -> int:
    preset = _preset(options)
    name = _extractor_name(options, preset)
    reference, held_out = open_reference(options, name), open_held_out(options)
    with progress() as bars:
        prepared = prepare_extractor(name, options, reference, bars, keep=True)
        protocol = _build(options, preset, prepared.extractor, reference, held_out)
        facts = dict(prepared.facts)
        if options.admission_images:
            facts["admission"] = _admission(
                prepared, reference, options.admission_images, bars
            ).to_record()
    record = {
        "fingerprint": protocol.fingerprint(),
        "protocol": protocol.to_record(),
        "weights": None if prepared.weights is None else str(prepared.weights),
        "facts": facts,
    }
    if options.json:
        write_json(options.json, record)
    else:
        print_record(record, as_json=True)
    return 0


def _admit(options: argparse.Namespace) -> int:
    reference = open_reference(options, options.extractor)
    with progress() as bars:
        prepared = prepare_extractor(options.extractor, options, reference, bars)
        found = _admission(prepared, reference, options.num_images, bars)
    print_admission(found)
    if options.json:
        write_json(options.json, found.to_record())
    return 0 if found.passed else EXIT_DIFFERENT


def _admission(
    prepared: Prepared, reference: ImageStream | SavedReference, count: int, bars: Progress
) -> Admission:
    if isinstance(reference, SavedReference):
        raise CommandError("the admission test needs images, got a saved reference")
    task = bars.add_task("admission test", total=1.0)
    if reference.count is None or reference.count < 4:
        raise CommandError(f"the admission test needs 4 images, got {reference.count}")
    chosen = choose(reference.count, min(2 * count, reference.count), seed=0)
    return admit(
        prepared.extractor,
        np.concatenate(list(reference.chunks(chosen))),
        labels=None if reference.labels is None else reference.labels[chosen],
        count=count,
        on_progress=lambda share: bars.update(task, completed=share),
    )


# --- references and weights -------------------------------------------------------------------


def _reference(options: argparse.Namespace) -> int:
    actions = {"build": _build_reference, "list": _list_references, "import": _import_reference}
    return actions[options.action](options)


def _build_reference(options: argparse.Namespace) -> int:
    if get_extractor(options.extractor).made_of == "pixels":
        raise CommandError(
            f"{options.extractor} is made from the images themselves: score against them"
        )
    images = open_reference(options, options.extractor)
    if isinstance(images, SavedReference):
        raise CommandError(f"{options.reference}: expected images, got a saved reference")
    with progress() as bars:
        prepared = prepare_extractor(options.extractor, options, images, bars)
        task = bars.add_task("extracting", total=1.0)
        facts = build_reference(
            options.cache,
            options.name,
            images,
            prepared.extractor,
            on_progress=lambda share: bars.update(task, completed=share),
        )
    print_references([facts])
    return 0


def _list_references(options: argparse.Namespace) -> int:
    print_references(list_references(options.cache), as_json=options.json)
    return 0


def _import_reference(options: argparse.Namespace) -> int:
    facts = import_statistics(
        options.statistics,
        name=options.name,
        extractor_name=options.extractor,
        folder=options.cache,
        count=options.num_images or 0,
    )
    print_references([facts])
    return 0


def _classifier(options: argparse.Namespace) -> int:
    train = open_set(options.data, "--data", part="train")
    test = open_set(options.test, "--test", part="test") if options.test else None
    with progress() as bars:
        trained = trained_classifier(
            options.out,
            labelled(train, "--data"),
            labelled(test, "--test") if test else None,
            len(train.classes),
            bars,
        )
    record = {
        "weights": str(trained.weights),
        "weights_sha256": trained.weights_sha256,
        "test_accuracy": trained.test_accuracy,
        "dim": trained.dim,
        "recipe": trained.recipe,
    }
    print_record(record, as_json=options.json)
    return 0


def _inception(options: argparse.Namespace) -> int:
    given = options.weights or find_weights(options.out)
    digest = InceptionExtractor(given).weights_sha256  # loads it: a file that cannot is refused
    record = {
        "weights": str(keep_weights(given, options.out, "inception", digest)),
        "weights_sha256": digest,
        "known_weights": has_known_weights(INCEPTION, digest),
    }
    print_record(record, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
