"""What `manage.py check` says of algorithms, metrics and extractors that other packages bring."""

from typing import Any

from django.core.checks import CheckMessage, Warning as CheckWarning

from evaluation.protocols import extractors, metrics
from generators.specs import registry


def plugins_left_out(**options: Any) -> list[CheckMessage]:
    """Return a warning for each plugin that cannot be used; the site works without it."""
    return [
        *(_warning("W001", "An algorithm", left, "generators list") for left in registry.LEFT_OUT),
        *(_warning("W002", "A metric", left, "evaluation") for left in metrics.LEFT_OUT),
        *(_warning("W002", "An extractor", left, "evaluation") for left in extractors.LEFT_OUT),
    ]


def _warning(number: str, what: str, left: object, command: str) -> CheckMessage:
    return CheckWarning(
        f"{what} is left out: {left}",
        hint=f"Mend or remove the package; `python -m {command}` names it too.",
        id=f"experiments.{number}",
    )
