"""What boards say together, over REST: the same as the pages."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from api.learning import bodies
from api.resources import Resource
from leaderboards.claims import verdicts


class ClaimsViewSet(Resource):
    """Sentences of textbooks, each with its verdict, effects and the boards behind it."""

    pagination_class = None
    filter_backends = ()
    serializer_class = bodies.ClaimsSerializer

    @extend_schema(responses=bodies.ClaimsSerializer, filters=False, tags=["claims"])
    def list(self, request: Request) -> Response:
        """Return every sentence; comparisons are made within one board and one budget."""
        found = verdicts.current()
        body = bodies.ClaimsSerializer({"found_at": found.found_at, "claims": found.found})
        return Response(body.data)
