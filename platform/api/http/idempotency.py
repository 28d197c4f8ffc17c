"""Creation that may be asked for again: the same `Idempotency-Key` gives the same answer.

As the draft of the IETF's HTTPAPI group has it, "The Idempotency-Key HTTP Header Field"; but a
refusal is not kept, since it made nothing.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api import bodies
from api.models import Answer

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
KEY = OpenApiParameter(
    HEADER,
    str,
    OpenApiParameter.HEADER,
    pattern="^[!-~]{1,255}$",
    description="Made up anew for each thing to create. Asked again with it within 24 hours, the "
    "same body gets the same answer, and nothing is made twice.",
)
REFUSALS: dict[int, Any] = {
    422: OpenApiResponse(bodies.ProblemSerializer, "The key was used for another body.")
}


class OtherBody(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY


def once(request: Request, create: Callable[[], Response]) -> Response:
    """Return the answer of `create`, or the one that was given under the request's key before.

    The key, what is created and the answer are written in one transaction: whoever asks at the same
    time waits for it, and after a crash there is none of the three.

    Raises:
        ValidationError: if the key is none.
        OtherBody: if the key was used for something else.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return create()
    if not re.fullmatch(r"[!-~]{1,255}", key):
        message = "expected 1 to 255 visible characters of ASCII"
        raise ValidationError({HEADER: message})
    account: Any = request.user  # permissions let nobody else write
    asked = _digest(request)
    with transaction.atomic():
        Answer.objects.filter(at__lt=timezone.now() - KEPT).delete()
        answer, is_new = Answer.objects.get_or_create(
            user=account, key=key, defaults={"asked": asked}
        )
        if not is_new:
            return _again(answer, asked)
        response = create()
        answer.status = response.status_code
        answer.body = JSONRenderer().render(response.data).decode()
        answer.location = response.headers["Location"]
        answer.save()
    return response


def _again(answer: Answer, asked: str) -> Response:
    if answer.asked != asked:
        raise OtherBody(
            f"the key was used for another body or address at {answer.at:%Y-%m-%d %H:%M} UTC"
        )
    headers = {"Location": answer.location, "Idempotent-Replayed": "true"}
    return Response(json.loads(answer.body), answer.status, headers=headers)


def _digest(request: Request) -> str:
    """Return the sha256 of what is asked for: address and body, however that is written."""
    body = json.dumps(request.data, sort_keys=True)
    return hashlib.sha256(f"{request.get_full_path()}\n{body}".encode()).hexdigest()
