"""JSON that is refused before it can do harm: what no database can keep."""

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from experiments.submission.plain import PlainDataError, check_plain


class StrictJSONParser(JSONParser):
    """JSON without NUL characters, unpaired surrogates, numbers outside float64 and endless data."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: if it is no JSON, or holds what cannot be stored.
        """
        try:
            data = super().parse(*args, **kwargs)
            check_plain(data)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except PlainDataError as error:
            raise ParseError(f"JSON parse error - {error}") from error
        return data
