"""What was submitted, as it can be submitted again: the other way round than `specification`."""

from typing import Any

from experiments.models import Entry, Experiment


def record_of(experiment: Experiment) -> dict[str, Any]:
    """Return plain data that describes the experiment's trainings; another name makes another one.

    Configurations and samplers are complete: presets and defaults that change later change nothing.
    Entries that were made elsewhere are left out, and controls, which every experiment gets.

    Raises:
        ValueError: if nothing is trained in it.
    """
    trained = [entry for entry in experiment.entries.all() if entry.kind == Entry.Kind.GENERATOR]
    if not trained:
        raise ValueError(f"nothing is trained in {experiment}: its entries were made elsewhere")
    return {
        "name": experiment.name,
        "dataset": experiment.dataset.slug,
        "protocols": [protocol.fingerprint for protocol in experiment.protocols.all()],
        "budget": _budget(experiment),
        "seeds": experiment.seeds,
        "memory_gb": experiment.memory_gb,
        "entries": [
            {
                "algorithm": entry.algorithm,
                "label": entry.label,
                "config": entry.config,
                "samplers": entry.samplers,
            }
            for entry in trained
        ],
    }


def _budget(experiment: Experiment) -> dict[str, float]:
    if experiment.budget_images is not None:
        return {"images": experiment.budget_images}
    return {"device_seconds": experiment.budget_seconds or 0}
