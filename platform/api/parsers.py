"""JSON that is refused before it can do harm: what no database can keep."""

import json
from typing import Any

import yaml
from rest_framework.exceptions import ParseError
from rest_framework.parsers import (  # type: ignore[attr-defined]  # get_encoding has no stub
    BaseParser,
    JSONParser,
    get_encoding,
)
from rest_framework.utils.json import strict_constant

from experiments.submission.plain import check_plain, distinct, read_yaml

MOST_YAML = 200_000  # characters: reading them takes a hundred times as long as JSON


class StrictJSONParser(JSONParser):
    """JSON without NUL characters, unpaired surrogates, numbers outside float64 and endless data.

    A field that is there twice is refused, too: which one was meant is not ours to guess.
    """

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: if it is no JSON, or holds what cannot be stored.
        """
        try:
            text = _text(stream, parser_context)
            data = json.loads(text, object_pairs_hook=distinct, parse_constant=strict_constant)
            check_plain(data)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error
        except ValueError as error:
            raise ParseError(f"JSON parse error - {error}") from error
        return data


class StrictYAMLParser(BaseParser):
    """YAML as `manage.py submit` reads it: its numbers as text, which each field understands."""

    media_type = "application/yaml"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the parsed body.

        Raises:
            ParseError: if it is no YAML, too much of it, or holds what cannot be stored.
        """
        try:
            text = _text(stream, parser_context)
            if len(text) > MOST_YAML:
                raise ParseError(
                    f"expected YAML of at most {MOST_YAML:,} characters; JSON may be longer"
                )
            return read_yaml(text)
        except (ValueError, TypeError, yaml.YAMLError) as error:
            raise ParseError(f"YAML parse error - {error}"[:500]) from error


def _text(stream: Any, parser_context: Any) -> str:
    """Return a body as text: all of it, where a reader would lose half a character at its end.

    Raises:
        UnicodeDecodeError: if it is none.
    """
    found: bytes = stream.read()
    return found.decode(get_encoding(parser_context or {}))
