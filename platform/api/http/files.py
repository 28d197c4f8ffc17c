"""Answers that are files of rows, written as they are read: CSV, JSON Lines, Parquet."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.exceptions import NotAcceptable
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from leaderboards.formats.parquet import missing, parquet_pieces
from leaderboards.formats.rows import Chunks, Field, csv_pieces, json_lines

Write = Callable[[Sequence[Field], Chunks], Iterator[bytes]]


class FileRenderer(BaseRenderer):
    """A format that can be asked for; what is sent is never rendered, but streamed."""

    render_style = "binary"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return b""  # of an answer without rows, to HEAD or OPTIONS


class CSVRenderer(FileRenderer):
    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"


class JSONLinesRenderer(FileRenderer):
    media_type = "application/jsonl"
    format = "jsonl"
    charset = "utf-8"


class ParquetRenderer(FileRenderer):
    media_type = "application/vnd.apache.parquet"
    format = "parquet"
    charset = None


WRITERS: dict[str, Write] = {
    CSVRenderer.format: csv_pieces,
    JSONLinesRenderer.format: json_lines,
    ParquetRenderer.format: parquet_pieces,
}
FILES = (CSVRenderer, JSONLinesRenderer, ParquetRenderer)
RENDERERS = (JSONRenderer, *FILES)  # what can be asked for with `?format=` or `Accept`


def wants_file(request: Request) -> bool:
    """Return whether rows are asked for as a file."""
    return isinstance(request.accepted_renderer, FileRenderer)


def file_answer(
    request: Request, name: str, fields: Sequence[Field], chunks: Chunks
) -> StreamingHttpResponse:
    """Return all rows in the format that is asked for, as a file of this name.

    Raises:
        NotAcceptable: if the site cannot write the format.
    """
    kind = request.accepted_renderer
    if kind.format == ParquetRenderer.format and (why := missing()):
        raise NotAcceptable(why)
    charset = f"; charset={kind.charset}" if kind.charset else ""
    head = {"Content-Disposition": f'attachment; filename="{name}.{kind.format}"'}
    rows = () if request.method == "HEAD" else chunks
    return StreamingHttpResponse(
        WRITERS[kind.format](fields, rows), content_type=f"{kind.media_type}{charset}", headers=head
    )
