"""JSON that is refused before it can do harm: what no database can keep."""

import math
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class StrictJSONParser(JSONParser):
    """JSON without NUL characters, unpaired surrogates and numbers outside float64."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: if it is no JSON, or holds a value that cannot be stored.
        """
        try:
            data = super().parse(*args, **kwargs)
            _check(data)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        return data


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key)
            _check(item)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, str) and not _is_storable(value):
        raise ParseError("JSON parse error - text holds a NUL or half a surrogate pair")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParseError("JSON parse error - a number is out of range")


def _is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
