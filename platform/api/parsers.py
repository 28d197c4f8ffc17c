"""JSON that is refused before it can do harm: what no database can keep."""

import codecs
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
        text = _reader(stream, parser_context)
        try:
            data = json.load(text, object_pairs_hook=distinct, parse_constant=strict_constant)
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
        text = _reader(stream, parser_context).read(MOST_YAML + 1)
        if len(text) > MOST_YAML:
            raise ParseError(
                f"expected YAML of at most {MOST_YAML:,} characters; JSON may be longer"
            )
        try:
            return read_yaml(text)
        except (ValueError, TypeError, yaml.YAMLError) as error:
            raise ParseError(f"YAML parse error - {error}"[:500]) from error


def _reader(stream: Any, parser_context: Any) -> codecs.StreamReader:
    return codecs.getreader(get_encoding(parser_context or {}))(stream)
