"""`python -m generators measure`: a table of likelihood, reconstruction and codes."""

import argparse
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from generators.commands.arguments import MOST_MEASURED
from generators.commands.shared import open_generator, progress_bar, real_images, say, wanted_of
from generators.trained.measure import Measurement, measure as run_measure


def measure(options: argparse.Namespace) -> int:
    """Measure as the command line says, and print a table."""
    generator = open_generator(options)
    data = real_images(options, generator, most=MOST_MEASURED)
    count = len(data.pixels)
    with progress_bar(generator.algorithm) as show:
        found = run_measure(
            generator,
            data.pixels,
            wanted_of(data),
            seed=options.seed,
            samples=options.samples,
            on_batch=lambda done: show(done / count, f"{done:,} images"),
        )
    record = {
        "algorithm": generator.algorithm,
        "images_seen": generator.images_seen,
        "parameters": generator.parameters,
        "images": count,
        "samples": options.samples,
        "seed": options.seed,
        "measurements": [asdict(measurement) for measurement in found],
    }
    title = f"{generator.algorithm} after {generator.images_seen:,} images"
    say(options, record, table_text(found, title))
    return 0


def table_text(found: list[Measurement], title: str) -> str:
    """Return the measurements as a table of plain text."""
    table = Table(title=title, title_justify="left")
    table.add_column("measure")
    for heading in ("value", "standard error", "images"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(one.name, *_cells(one))
    reasons = [f"{one.name}: {one.reason}" for one in found if one.value is None]
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*lines, *(f"N/A {reason}" for reason in reasons)])


def _cells(one: Measurement) -> tuple[str, str, str]:
    if one.value is None:
        return "N/A", "–", "–"
    error = "–" if one.standard_error is None else f"{one.standard_error:.4f}"
    return f"{one.value:.4f}", error, f"{one.images:,}"
