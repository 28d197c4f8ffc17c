"""JSON that is refused before it can do harm: what no database can keep."""

import codecs
import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import (  # type: ignore[attr-defined]  # get_encoding has no stub
    JSONParser,
    get_encoding,
)
from rest_framework.utils.json import strict_constant

from experiments.submission.plain import check_plain, distinct


class StrictJSONParser(JSONParser):
    """JSON without NUL characters, unpaired surrogates, numbers outside float64 and endless data.

    A field that is there twice is refused, too: which one was meant is not ours to guess.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: if it is no JSON, or holds what cannot be stored.
        """
        text = codecs.getreader(get_encoding(parser_context or {}))(stream)
        try:
            data = json.load(text, object_pairs_hook=distinct, parse_constant=strict_constant)
            check_plain(data)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
        return data
