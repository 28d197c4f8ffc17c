"""What a command prints and writes: tables for people, JSON for programs, progress in between."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from evaluation.imagesets.atomic import replacing
from evaluation.imagesets.opening import ImageStream
from evaluation.metrics.uncertainty import clipped
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import METRICS, arrow
from evaluation.protocols.notes import lossy_note
from evaluation.protocols.record import Protocol
from evaluation.scoring.admission import Admission
from evaluation.scoring.evaluate import EvaluationResult
from evaluation.scoring.published import TOLERANCE, StatisticsCheck, has_images_too
from evaluation.scoring.references import ReferenceFacts, SavedReference

WIDE = 200  # columns, where no terminal says how many there are: labels are never cut


def print_result(result: EvaluationResult, protocol: Protocol) -> None:
    """Print a table of all metrics, why something is absent, and the fingerprint."""
    headings = ("metric", "value", "corrected", "± s.e.", _interval_heading(protocol))
    rows = [
        (
            f"{result.labels[name]} {arrow(METRICS[name])}",
            _number(found.value),
            _number(_possible(METRICS[name], found.corrected)),
            _number(found.standard_error),
            "–" if found.interval is None else " … ".join(map(_number, found.interval)),
        )
        for name, found in result.values.items()
    ]
    print_table(headings, rows)
    for name, found in result.values.items():
        if found.reason:
            say(f"{result.labels[name]}: {found.reason}")
        if "other_prompts" in found.details:
            say(f"{result.labels[name]}: {_between(found.details)}")
    counted = f"against {protocol.reference.count} real ones"
    if protocol.reference.kind == "statistics":
        counted = f"against published statistics ({protocol.reference.split})"
    say(f"{protocol.num_images} images {counted}")
    say(f"protocol {result.fingerprint}")


def _between(details: Mapping[str, Any]) -> str:
    """Return in words the floor and the ceiling that an agreement is to be read between."""
    real = details.get("real_pairs")
    ceiling = "no real pairs are known" if real is None else f"real pairs {_number(real)}"
    return f"other prompts {_number(details['other_prompts'])}, {ceiling}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text, the first column to the left and numbers to the right."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading == headings[0] else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    console.print(table)


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a record as JSON, or a line for each of its names."""
    if as_json:
        say(json.dumps(record, indent=2))
        return
    for name, value in record.items():
        say(f"{name:15} {json.dumps(value) if isinstance(value, dict) else value}")


def print_references(found: Sequence[ReferenceFacts], *, as_json: bool = False) -> None:
    """Print what saved references are, as a table or as JSON."""
    if as_json:
        say(json.dumps([facts.to_record() for facts in found], indent=2))
        return
    if not found:
        say("no reference is saved: `reference build` or `reference import` saves one")
        return
    print_table(
        ("name", "kind", "images", "extractor", "features", "digest"),
        [
            (
                facts.name,
                facts.kind,
                str(facts.count or "?"),
                facts.extractor,
                str(facts.dim),
                facts.digest[:12],
            )
            for facts in found
        ],
    )


def print_admission(found: Admission) -> None:
    """Print what the admission test measured, and whether the extractor passed."""
    rows = [("floor, real against real", "", _number(found.floor.value))]
    for name, ladder in found.ladders.items():
        rows += [
            (name.replace("_", " "), _number(rung.level), _number(rung.value))
            for rung in ladder.rungs
        ]
    rows.append(("difference between batch sizes", "", _number(found.batch_invariance)))
    for name, value in found.classifier.items():
        rows.append((f"classifier: {name}", "", _number(value)))
    print_table(("test", "level", "value"), rows)
    for reason in found.failures:
        say(f"  {reason}")
    say(f"{'passed' if found.passed else 'failed'}, {found.count} images on each side")


def tell_statistics(
    path: Path, reference: ImageStream | SavedReference, found: StatisticsCheck | None
) -> None:
    """Say whether statistics that lie beside reference images are those of the images."""
    if isinstance(reference, SavedReference) or not has_images_too(path):
        return
    what = f"reference: mu and sigma in {path.name}"
    if found is None:
        warn(f"{what} are of another extractor: not compared with the images beside them")
        return
    distance = (
        f"Fréchet distance {found.distance:.3g}, {100 * found.relative:.2g}% of the trace of "
        f"sigma; up to {TOLERANCE:.2%} is taken for rounding"
    )
    if found.agree:
        say(f"{what} are those of the images beside them ({distance})")
        return
    warn(
        f"{what} are not those of the images beside them ({distance}); every metric is measured "
        "against the images: `reference import` keeps the statistics to measure against them"
    )


def result_record(result: EvaluationResult, protocol: Protocol) -> dict[str, Any]:
    """Return a result as plain JSON values."""
    found = result.statistics
    return {
        "fingerprint": result.fingerprint,
        "protocol": protocol.to_record(),
        "metrics": {
            name: {"label": result.labels[name], **value.to_record()}
            for name, value in result.values.items()
        },
        **({} if found is None else {"reference_statistics": found.to_record()}),
    }


def tell_lossy(images: ImageStream | SavedReference | None, what: str) -> None:
    """Warn of real images from lossy files, of those that have been read."""
    if isinstance(images, SavedReference):
        lossy, count = images.facts.lossy, images.facts.count
    elif images is not None:
        lossy, count = images.lossy_count, images.count or 0
    if images is not None and lossy:
        warn(lossy_note(lossy, count, f"{what} images"))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record to a file, whole or not at all."""
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    with replacing(path) as file:
        file.write(text.encode())


def progress() -> Progress:
    """Return progress bars on the error stream, shown on a terminal only."""
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def note(line: str) -> None:
    """Print a line on the error stream, of what is neither result nor warning."""
    sys.stderr.write(f"{line}\n")


def warn(line: str) -> None:
    """Print a warning on the error stream."""
    sys.stderr.write(f"warning: {line}\n")


def _interval_heading(protocol: Protocol) -> str:
    return f"{protocol.uncertainty['level']:.0%} interval"


def _possible(spec: MetricSpec, estimate: float | None) -> float | None:
    """Return the estimate moved into the metric's range, as its interval is."""
    return None if estimate is None else clipped(estimate, spec.minimum, spec.maximum)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"
