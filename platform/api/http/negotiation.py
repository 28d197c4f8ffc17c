"""Which format an answer has, and what is said where none of them is asked for."""

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class Negotiation(DefaultContentNegotiation):
    """Names the formats that there are where another one is asked for."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer that is asked for, and the media type that it has then.

        Raises:
            NotAcceptable: with all media types, if `Accept` takes none of them.
        """
        found = list(renderers)
        try:
            chosen: tuple[BaseRenderer, str]
            chosen = super().select_renderer(request, found, format_suffix)
            return chosen
        except NotAcceptable as error:
            known = dict.fromkeys(each.media_type or "" for each in found)
            raise NotAcceptable(f"expected Accept to take {' or '.join(known)}") from error

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> list[BaseRenderer]:
        """Return the renderers of a format.

        Raises:
            ValidationError: with all formats, if there is none of it.
        """
        found = [each for each in renderers if each.format == format]
        if not found:
            known = ", ".join(dict.fromkeys(each.format or "" for each in renderers))
            message = f"expected one of {known}, got {format[:50]!r}"
            raise ValidationError({"errors": {"format": message}})
        return found
