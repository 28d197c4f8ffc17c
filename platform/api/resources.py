"""What all resources share: links, pages, parameters, the answer that did not change."""

import hashlib
from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from rest_framework.exceptions import NotFound
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from accounts.models import User
from api.http import queries
from api.http.paging import CursorPages, NumberedPages
from api.http.versions import OldAddresses, is_unversioned
from api.parsers import StrictJSONParser, StrictYAMLParser
from api.schema import ApiSchema
from catalog.models import Protocol
from experiments.ownership import require_change

WHOLE_NUMBER = r"\d{1,18}"  # what a key can be
FINGERPRINT = "[0-9a-f]{8,64}"  # whole, or a beginning that only one has


class Addressed(APIView):
    """A view whose links lead where the question came from, with a version or without."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if is_unversioned(request):
            request.versioning_scheme = OldAddresses()


class Resource(Addressed, GenericViewSet[Any]):
    """What all resources share."""

    schema = ApiSchema()
    parser_classes = (StrictJSONParser, StrictYAMLParser)
    pagination_class: type[BasePagination] | None = CursorPages
    lookup_value_regex = WHOLE_NUMBER
    orderings: ClassVar[tuple[str, ...]] = ("id",)  # fields that are never of another table
    default_ordering: ClassVar[str] = "-id"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method != "OPTIONS":
            queries.check_query(self)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        answer: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)
        if request.method == "GET" and isinstance(answer, Response) and answer.status_code == 200:
            answer.add_post_render_callback(lambda done: unless_known(request._request, done))
        return answer

    @property
    def paginator(self) -> Any:
        """Return what makes pages: by number where the address has no version."""
        if not hasattr(self, "_paginator"):
            kind = self.pagination_class
            is_old = kind is not None and is_unversioned(self.request)
            self._paginator = NumberedPages() if is_old else kind and kind()
        return self._paginator

    def user(self) -> User | None:
        """Return the account that writes; permissions let nobody else write."""
        return self.request.user if self.request.user.is_authenticated else None

    def changeable(self) -> Any:
        """Return the asked row, for an account that may cancel and retry it."""
        row = self.get_object()
        require_change(self.request.user, row)
        return row


def unless_known(request: HttpRequest, response: Any) -> Any:
    """Return the answer with its ETag, or 304 where whoever asks has it already."""
    etag = quote_etag(hashlib.sha256(response.content).hexdigest()[:32])
    response.headers["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response)


class ByFingerprint(Resource):
    """Protocols by their fingerprints, or by beginnings of them that are of one alone."""

    lookup_field = "fingerprint"
    lookup_value_regex = FINGERPRINT

    def get_object(self) -> Protocol:
        found = self.by_fingerprint(self.kwargs["fingerprint"])
        self.check_object_permissions(self.request, found)
        return found

    def by_fingerprint(self, beginning: str) -> Protocol:
        """Return the protocol whose fingerprint begins so.

        Raises:
            NotFound: if none does, or several do.
        """
        matches: list[Protocol] = list(
            self.get_queryset().filter(fingerprint__startswith=beginning)[:2]
        )
        if len(matches) != 1:
            several = (
                "several fingerprints begin" if matches else "no protocol's fingerprint begins"
            )
            raise NotFound(f"{several} with {beginning}")
        return matches[0]
