"""The one exception of the client."""

import json
from collections.abc import Mapping

SHOWN = 20  # fields in the message


class TrilemmaError(Exception):
    """What was asked for was refused, or no answer came; the message says why.

    `status` is that of HTTP, None where there was no answer. `errors` has every wrong field of a
    submission by its dotted path, such as `entries.0.config.beta`.
    """

    def __init__(
        self, detail: str, *, status: int | None = None, errors: Mapping[str, str] | None = None
    ) -> None:
        self.detail, self.status, self.errors = detail, status, dict(errors or {})
        lines = [f"{path}: {text}" if path else text for path, text in self.errors.items()]
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        super().__init__("\n".join([*lines[:SHOWN], *more]) or detail)


def refusal(status: int, reason: str, body: bytes) -> TrilemmaError:
    """Return the error of an answer: its problem details (RFC 9457), where it has them."""
    try:
        told = json.loads(body)
        return TrilemmaError(str(told["detail"]), status=status, errors=told.get("errors"))
    except (ValueError, TypeError, KeyError):
        return TrilemmaError(f"the site answered {status} {reason}".rstrip(), status=status)
