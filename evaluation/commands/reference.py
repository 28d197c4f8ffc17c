"""The command `reference`: keep features or published statistics of real images by name."""

import argparse
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.commands.inputs import open_reference, prepare_extractor
from evaluation.commands.report import print_references, progress, tell_statistics
from evaluation.protocols.extractors import get_extractor
from evaluation.scoring.published import check_statistics, published_beside
from evaluation.scoring.references import (
    SavedReference,
    build_reference,
    import_statistics,
    list_references,
    load_reference,
)


def reference(options: argparse.Namespace) -> int:
    """Build, list or import references."""
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
    path = Path(options.reference)
    with progress() as bars:
        prepared = prepare_extractor(options.extractor, options, images, bars)
        published = published_beside(images, path, prepared.extractor)
        task = bars.add_task("extracting", total=1.0)
        facts = build_reference(
            options.cache,
            options.name,
            images,
            prepared.extractor,
            on_progress=lambda share: bars.update(task, completed=share),
        )
    print_references([facts])
    gaussian = load_reference(options.cache, options.name).gaussian
    found = None if published is None else check_statistics(published, gaussian)
    tell_statistics(path, images, found)
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
