"""What somebody says of samples that were made elsewhere, read from plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.models import Dataset, Protocol
from catalog.names import name_problem
from evaluation.protocols.checking import ProtocolError
from evaluation.protocols.manifests import Manifest
from experiments import controls
from experiments.models import Experiment
from experiments.submission.specification import Reader, find_protocols
from experiments.uploads.files import SUFFIXES

MAX_SETS = 20
MAX_PROTOCOLS = 20


@dataclass(frozen=True)
class ExternalSpec:
    """An external entry: of an experiment that is there, or of a new one under these protocols."""

    experiment: Experiment | None
    name: str  # of a new experiment
    protocols: list[Protocol]
    label: str
    manifest: Manifest

    @property
    def dataset(self) -> Dataset:
        return self.protocols[0].dataset


def read_external(data: Mapping[str, Any]) -> ExternalSpec:
    """Return the external entry that plain data describes.

    `{"manifest": {…}, "experiment": a name or a number}`, or instead of an experiment `"protocols":
    [fingerprint, …]` and perhaps the `"name"` of the new one; perhaps a `"label"` for boards, by
    default the system with its version.

    Raises:
        SpecificationError: with every wrong field.
    """
    reader = Reader()
    reader.unknown("", data, {"manifest", "experiment", "name", "protocols", "label"})
    manifest = _read_manifest(reader, data.get("manifest"))
    label = _read_text(reader, "label", data.get("label"), manifest.label if manifest else "?", 100)
    if manifest and label == manifest.label and (problem := name_problem(label, 100)):
        reader.wrong("manifest.system", problem)
    if label in controls.LABELS:
        reader.wrong("label", f"{label!r} is taken, expected another")
    experiment = _read_experiment(reader, data)
    name = _read_text(reader, "name", data.get("name"), label, 200)
    if experiment is not None:
        protocols = list(experiment.protocols.select_related("dataset", "prompt_set"))
    else:
        protocols = _read_protocols(reader, data)
    reader.finish()
    assert manifest is not None, "a missing one is an error above"
    return ExternalSpec(experiment, name, protocols, label, manifest)


def _read_manifest(reader: Reader, record: object) -> Manifest | None:
    try:
        return Manifest.from_record(record)
    except ProtocolError as error:
        field, _, fault = str(error).partition(": ")
        reader.wrong("manifest" if field == "manifest" else f"manifest.{field}", fault)
        return None


def _read_text(reader: Reader, path: str, given: object, default: str, most: int) -> str:
    if given in (None, ""):
        return default
    if problem := name_problem(given, most):
        reader.wrong(path, problem)
        return default
    return str(given).strip()


def _read_experiment(reader: Reader, data: Mapping[str, Any]) -> Experiment | None:
    given = data.get("experiment")
    if given in (None, ""):
        return None
    for other in ("name", "protocols"):
        if data.get(other):
            reader.wrong(other, "expected none beside an experiment, which has its own")
    return reader.experiment(given)


def _read_protocols(reader: Reader, data: Mapping[str, Any]) -> list[Protocol]:
    given = data.get("protocols")
    if data.get("experiment") not in (None, ""):
        return []
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_PROTOCOLS:
        reader.wrong("protocols", "expected an experiment, or a list of at least one fingerprint")
        return []
    found: list[Protocol] = []
    for index, beginning in enumerate(given):
        matches = find_protocols(beginning, None)
        if len(matches) != 1:
            text = f"expected the fingerprint of one protocol, got {beginning!r}"[:300]
            reader.wrong(f"protocols.{index}", text)
        elif problem := _problem(matches[0], found):
            reader.wrong(f"protocols.{index}", problem)
        elif matches[0] not in found:
            found.append(matches[0])
    return found


def _problem(protocol: Protocol, before: Sequence[Protocol]) -> str:
    """Return why the same samples cannot be scored under the protocol too, "" if they can."""
    if protocol.refusal:
        return f"{protocol.label}: {protocol.refusal}"
    first = next(iter(before), protocol)
    if first.dataset_id != protocol.dataset_id:
        return f"{protocol.label} measures {protocol.dataset}, {first.label} {first.dataset}"
    if first.record.get("prompts") != protocol.record.get("prompts"):
        return f"{protocol.label} asks with other prompts than {first.label}"
    return ""


def check_files(names: Sequence[str]) -> None:
    """Refuse files of kinds that nobody reads, and too many or none.

    Raises:
        SpecificationError: with every wrong file.
    """
    reader = Reader()
    if not 1 <= len(names) <= MAX_SETS:
        reader.wrong(
            "files", f"expected 1 to {MAX_SETS} files, one for each seed; got {len(names)}"
        )
    for index, name in enumerate(names):
        if not name.lower().endswith(SUFFIXES):
            kinds = ", ".join(SUFFIXES)
            reader.wrong(f"files.{index}", f"expected a file {kinds}; got {name[-80:]!r}")
    reader.finish()


def suffix_of(name: str) -> str:
    """Return the ending of a file's name by which it is read."""
    return next(suffix for suffix in SUFFIXES if name.lower().endswith(suffix))
