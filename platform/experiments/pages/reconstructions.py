"""What is shown of reconstructions: how faithful an autoencoder is, in the usual names and units."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from catalog.models import Protocol
from evaluation.protocols.metric_specs import MetricSpec
from evaluation.protocols.metrics import METRICS
from experiments.models import MetricValue, SampleSet

SPECS = {"psnr": METRICS["psnr"], "ssim": METRICS["ssim"], "rfd": METRICS["fd"]}
UNITS = {"psnr": "dB"}


@dataclass(frozen=True)
class Figure:
    """One number of a reconstruction, over the images of a split."""

    key: str  # psnr, ssim, rfd
    label: str  # "PSNR"; "rFD[classifier]", "rFID" for those features alone
    value: MetricValue  # not a row
    images: int

    @property
    def spec(self) -> MetricSpec:
        return SPECS[self.key]

    @property
    def unit(self) -> str:
        return UNITS.get(self.key, "")

    @property
    def estimate(self) -> float | None:
        """Return the number that is shown, None if it is not defined."""
        value = self.value
        return value.value if value.bias_corrected is None else value.bias_corrected


def distance_label(protocol: Protocol) -> str:
    """Return the only name of a reconstruction-FD on a protocol's features."""
    return f"r{protocol.metric_label('fd')}"


def figures(sample_set: SampleSet, protocols: Iterable[Protocol]) -> list[Figure]:
    """Return what is known of a sample set of reconstructions; nothing of another."""
    found: Mapping[str, Any] = sample_set.reconstruction
    if not found:
        return []
    parts = [("psnr", "PSNR", found["psnr"]), ("ssim", "SSIM", found["ssim"])]
    parts += [
        ("rfd", distance_label(each), found["rfd"][each.fingerprint])
        for each in protocols
        if each.fingerprint in found["rfd"]
    ]
    return [
        Figure(key, label, MetricValue(metric=key, **fields), found["images"])
        for key, label, fields in parts
    ]


def means(sets: Iterable[SampleSet], protocol: Protocol) -> dict[str, float | None]:
    """Return the means over seeds by their names with units, None for what is not defined."""
    found: dict[str, list[float | None]] = {}
    for sample_set in sets:
        for each in figures(sample_set, [protocol]):
            found.setdefault(f"{each.label} {each.unit}".strip(), []).append(each.estimate)
    return {
        name: fmean(known) if (known := [v for v in values if v is not None]) else None
        for name, values in found.items()
    }
