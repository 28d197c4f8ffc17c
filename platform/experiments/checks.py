"""What `manage.py check` says of algorithms that other packages bring."""

from typing import Any

from django.core.checks import CheckMessage, Warning as CheckWarning

from generators.specs import registry


def algorithms_left_out(**options: Any) -> list[CheckMessage]:
    """Return a warning for each algorithm that cannot be used; the site works without it."""
    return [
        CheckWarning(
            f"An algorithm is left out: {left}",
            hint="Mend or remove the package; `python -m generators list` names it too.",
            id="experiments.W001",
        )
        for left in registry.LEFT_OUT
    ]
