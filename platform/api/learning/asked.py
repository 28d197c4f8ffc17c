"""What questions and viewings have in common over REST: somebody asks, workers draw, it can be stopped."""

from collections.abc import Callable
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import Throttled, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from api.http import idempotency
from api.resources import Resource
from api.views import Conflict
from experiments import services
from experiments.answers.asking import TooManyQuestions
from experiments.submission.specification import SpecificationError
from jobs.models import Status

STATE = ("status", "reason", "cause", "queued_at", "started_at", "finished_at")


class SheetSerializer(serializers.ModelSerializer[Any]):
    # No docstring: the schema would give it to every resource that has such a sheet.
    sheet_at: ClassVar[str]  # name of its address

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_sheet(self, row: Any) -> str | None:
        if row.status != Status.COMPLETED:
            return None
        return reverse(self.sheet_at, args=[row.pk], request=self.context["request"])


class Asked(Resource):
    """A resource that is asked for within limits, once for each idempotency key."""

    asked_with = ""  # what a body holds, in words
    limited_at = ""  # the field at which the limits refuse

    def answered(self, request: Request, ask: Callable[[], Response]) -> Response:
        """Return what `ask` answers, which queues what the body asks for, or how it refuses."""
        if not isinstance(request.data, dict):
            raise ValidationError({"errors": {"": f"expected an object with {self.asked_with}"}})
        try:
            return idempotency.once(request, ask)
        except TooManyQuestions as error:
            raise Throttled(detail=error.errors[self.limited_at]) from error
        except SpecificationError as error:
            raise ValidationError({"errors": error.errors}) from error

    def made(self, row: Any, *, is_new: bool = True) -> Response:
        """Return a row that was asked for, and where it is."""
        data = self.get_serializer(row).data
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response(data, code, headers={"Location": str(data["url"])})

    def stopped(self, request: Request) -> Response:
        """Cancel the row if it is queued, ask it to stop if it is being drawn."""
        row: Any = self.changeable()
        if not services.cancel_job(row, user=request.user):
            name = row._meta.verbose_name
            raise Conflict(f"the {name} is {row.status}, expected it to be queued or running")
        return Response(self.get_serializer(self.get_object()).data)
