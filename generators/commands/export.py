"""`python -m generators export`: a checkpoint for other programs."""

import argparse

from generators.commands.labels import chosen_label
from generators.commands.shared import check_parent, newest_checkpoint, say
from generators.trained.export import export_diffusers, export_safetensors
from generators.trained.sampling import load_generator


def export(options: argparse.Namespace) -> int:
    """Write the averaged weights as the command line says, and print how to load them."""
    check_parent(options.out, "--out")
    for name in ("label", "steps"):
        if options.format == "safetensors" and getattr(options, name) is not None:
            raise ValueError(f"--{name}: expected with --format diffusers alone")
    generator = load_generator(newest_checkpoint(options.checkpoint))
    label = chosen_label(options, generator)
    if options.format == "safetensors":
        found = export_safetensors(generator, options.out)
    else:
        found = export_diffusers(generator, options.out, label=label, steps=options.steps)
    record = {
        "out": str(found.path),
        "format": options.format,
        "algorithm": generator.algorithm,
        "images_seen": generator.images_seen,
        "bytes": found.bytes,
        "load": found.hint,
    }
    say(options, record, f"{found.path}: {found.bytes:,} bytes; load with {found.hint}")
    return 0
