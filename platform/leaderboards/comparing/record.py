"""A comparison as plain JSON values, at full precision, in the words of its page."""

from collections.abc import Iterable, Sequence
from typing import Any

from leaderboards.comparing.classes import Classes, classes
from leaderboards.comparing.configurations import configuration
from leaderboards.comparing.sides import Comparison, Side
from leaderboards.comparing.values import Compared, Line, Stranger, Table, strangers, tables
from leaderboards.export import remarks


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Return the sides, their configurations, and each protocol's numbers with differences."""
    found = tables(comparison)
    told = configuration(comparison)
    return {
        "baseline": comparison.baseline.key,
        "entries": [_side(side) for side in comparison.sides],
        "configuration": [
            {"name": row.name, "differs": row.differs, "values": list(row.values)}
            for row in told.rows
        ],
        "boards": [_table(table) for table in found],
        "classes": [_classes(each) for each in classes(comparison, found, most=None)],
        "not_comparable": [_stranger(each) for each in strangers(comparison, found)],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "key": side.key,
        "id": side.entry.pk,
        "label": side.entry.label,
        "sampler": side.sampler_label,
        "family": side.entry.family,
        "algorithm": side.entry.algorithm,
        "kind": side.entry.kind,
        "experiment": side.entry.experiment_id,
        "dataset": side.entry.experiment.dataset.slug,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "protocol": table.protocol.fingerprint,
        "name": table.protocol.name,
        "board_name": table.protocol.board_name,
        "dataset": table.protocol.dataset.slug,
        "num_images": table.protocol.num_images,
        "seeds": {
            side.key: {
                "scored": row.seeds_scored,
                "total": row.seeds_total,
                "failed": row.seeds_failed,
            }
            for side, row in table.rows
        },
        "metrics": [_line(line) for line in table.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    column = line.column
    return {
        "key": column.key,
        "label": column.label,
        "corner": column.corner,
        "unit": column.unit,
        "higher_is_better": column.higher_is_better,
        "ideal": column.ideal,
        "values": [_compared(each) for each in line.cells],
    }


def _compared(each: Compared) -> dict[str, Any]:
    cell, apart = each.cell, each.difference
    return {
        "entry": each.side.key,
        "value": cell.value,
        "low": cell.low,
        "high": cell.high,
        "interval_of": cell.interval_of,
        "seeds": len(cell.seeds),
        "declared": cell.declared,
        "reason": cell.reason,
        "remarks": remarks(cell),
        "difference": None
        if apart is None
        else {"value": apart.value, "low": apart.low, "high": apart.high},
        "ratio": each.ratio,
        "verdict": each.verdict,
        "why": each.why,
    }


def _classes(each: Classes) -> dict[str, Any]:
    return {
        "protocol": each.protocol.fingerprint,
        "names": list(each.names),
        "real": list(each.real),
        "entries": [
            {"entry": of.side.key, "seeds": of.seeds, "shares": list(of.shares)}
            for of in each.histograms
        ],
    }


def _stranger(each: Stranger) -> dict[str, Any]:
    return {"entry": each.side.key, "reasons": list(reasons(each))}


def reasons(stranger: Stranger) -> Sequence[str]:
    """Return in words why a side's numbers may not be compared with the baseline's."""
    if stranger.datasets is not None:
        return ["dataset: {} and {}".format(*stranger.datasets)]
    found: Iterable[str] = (words for apart in stranger.apart for words in apart.differences)
    return list(found) or ["nothing of one of the two is scored yet"]
