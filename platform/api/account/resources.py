"""What an account is told, and where to, over REST: each account sees and changes its own."""

from typing import Any, ClassVar, cast

import django_filters
from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from accounts.models import User
from accounts.permissions import may_submit
from api import bodies
from api.filters import LARGEST, ChoiceFilter, whole_number
from api.resources import Resource
from api.schema import PrivateSchema
from api.views import Conflict
from experiments.models import Experiment
from generators.specs.options import unknown_fields
from notifications import outbox, receivers
from notifications.addresses import MOST_CHARACTERS
from notifications.models import ENDS, Delivery, Preference, Watch, Webhook


class MaySubmit(BasePermission):
    """Accounts that may submit, to read as well."""

    message = "Your account may not do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return may_submit(request.user)


class OwnSchema(PrivateSchema):
    """Describes what nobody sees but its account."""

    may_change = "With what is their own submitters and admins may do this."


class Own(Resource):
    """Rows of the account that asks."""

    schema = OwnSchema()
    permission_classes = (MaySubmit,)

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows.filter(user=self.request.user.pk) if self.action == "list" else rows

    def get_object(self) -> Any:
        row = super().get_object()
        if row.user_id != self.account.pk:
            raise PermissionDenied("only the account whose it is may see it")
        return row

    @property
    def account(self) -> User:
        return cast(User, self.request.user)  # permissions let nobody else in


class WebhookSerializer(serializers.ModelSerializer[Webhook]):
    class Meta:
        model = Webhook
        fields = ["id", "url", "created_at"]


class NewWebhookSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(
        allow_blank=True,  # refused in our own words
        max_length=MOST_CHARACTERS,
        help_text="http or https, of the public internet unless the administrator allows others",
    )


class SecretSerializer(WebhookSerializer):
    """A webhook with its secret, which nobody is shown again."""

    secret = serializers.CharField(help_text="whsec_…, as Standard Webhooks has it")

    class Meta(WebhookSerializer.Meta):
        fields = [*WebhookSerializer.Meta.fields, "secret"]


ON_ITS_WAY = OpenApiResponse(bodies.ProblemSerializer, "One is on its way.")


class WebhookViewSet(Own, ReadOnlyModelViewSet[Webhook]):
    """Addresses that your messages are sent to, signed as Standard Webhooks says."""

    queryset = Webhook.objects.order_by("-pk")
    serializer_class = WebhookSerializer
    filter_backends = ()

    @extend_schema(request=NewWebhookSerializer, responses={201: SecretSerializer})
    def create(self, request: Request) -> Response:
        """Add a webhook; its secret is in this answer and in no other."""
        given = _read(NewWebhookSerializer, request)
        try:
            webhook, secret = receivers.add_webhook(self.account, given["url"])
        except receivers.WishRefused as error:
            raise ValidationError({"errors": error.errors}) from error
        return _told(webhook, secret, status.HTTP_201_CREATED)

    @extend_schema(responses={status.HTTP_204_NO_CONTENT: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a webhook with its messages, those on their way among them."""
        receivers.remove_webhook(self.get_object(), user=self.account)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=SecretSerializer)
    @action(detail=True, methods=["post"])
    def renew(self, request: Request, pk: str) -> Response:
        """Make a new secret; the old one signs nothing from now on."""
        webhook = self.get_object()
        return _told(webhook, receivers.renew_secret(webhook, user=self.account))

    @extend_schema(request=None, responses={202: WebhookSerializer, 409: ON_ITS_WAY})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a message that tells nothing, to see whether it arrives."""
        webhook = self.get_object()
        if not outbox.tell_test(webhook):
            raise Conflict("a test is on its way there, expected it to end first")
        return Response(WebhookSerializer(webhook).data, status.HTTP_202_ACCEPTED)


def _told(webhook: Webhook, secret: str, code: int = status.HTTP_200_OK) -> Response:
    data = {**WebhookSerializer(webhook).data, "secret": secret}
    return Response(data, code, headers={"Cache-Control": "no-store"})


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    code = serializers.IntegerField(
        allow_null=True, read_only=True, help_text="status of the last answer; null: none, or mail"
    )

    class Meta:
        model = Delivery
        fields = [
            *("id", "message_id", "event", "experiment", "webhook", "email", "status"),
            *("attempts", "code", "detail", "created_at", "next_at", "ended_at", "body"),
        ]
        extra_kwargs: ClassVar = {
            "message_id": {"help_text": "the same at every attempt: drop what you know"},
            "email": {"help_text": "where there is no webhook"},
            "detail": {"help_text": "what came of the last attempt"},
            "next_at": {"help_text": "while it waits: not tried before"},
            "body": {"help_text": "JSON, as it is signed"},
        }


class DeliveryFilter(django_filters.FilterSet):  # type: ignore[misc]  # untyped
    status = ChoiceFilter(choices=Delivery.State.choices)
    experiment = whole_number("experiment")
    webhook = whole_number("webhook")

    class Meta:
        model = Delivery
        fields: list[str] = []


class DeliveryViewSet(Own, ReadOnlyModelViewSet[Delivery]):
    """Messages to you, and whether they arrived; the newest first."""

    queryset = Delivery.objects.order_by("-pk")
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter


class WatchSerializer(serializers.ModelSerializer[Watch]):
    class Meta:
        model = Watch
        fields = ["id", "experiment", "wanted"]
        extra_kwargs: ClassVar = {
            "wanted": {"help_text": "false: you are not told, whatever your account prefers"}
        }


class NewWatchSerializer(serializers.Serializer[Any]):
    experiment = serializers.IntegerField(min_value=0, max_value=LARGEST)
    wanted = serializers.BooleanField()


class WatchViewSet(Own, ReadOnlyModelViewSet[Watch]):
    """Single experiments of whose end you are told, or not told."""

    queryset = Watch.objects.order_by("-pk")
    serializer_class = WatchSerializer
    filter_backends = ()

    @extend_schema(request=NewWatchSerializer, responses={201: WatchSerializer})
    def create(self, request: Request) -> Response:
        """Say whether you are told of an experiment's end; said again, the last word counts."""
        given = _read(NewWatchSerializer, request)
        with transaction.atomic():
            rows = Experiment.objects.select_for_update(no_key=True)
            experiment = rows.filter(pk=given["experiment"]).first()
            if experiment is None:
                raise ValidationError({"experiment": "expected an experiment's id"})
            watch = receivers.watch(self.account, experiment, wanted=given["wanted"])
        return Response(WatchSerializer(watch).data, status.HTTP_201_CREATED)

    @extend_schema(responses={status.HTTP_204_NO_CONTENT: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Forget it: what your account prefers counts again."""
        self.get_object().delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


class PreferenceSerializer(serializers.ModelSerializer[Preference]):
    class Meta:
        model = Preference
        fields = [*ENDS, "email"]
        extra_kwargs: ClassVar = {"email": {"help_text": "by mail, too"}}


class PreferenceView(Own):
    """Which ends of your own experiments you are told."""

    queryset = Preference.objects.all()
    serializer_class = PreferenceSerializer
    pagination_class = None
    filter_backends = ()

    def retrieve(self, request: Request) -> Response:
        """Return them."""
        return Response(PreferenceSerializer(receivers.preference_of(self.account)).data)

    def partial_update(self, request: Request) -> Response:
        """Change those that are given."""
        given = _read(PreferenceSerializer, request, partial=True)
        return Response(PreferenceSerializer(receivers.prefer(self.account, given)).data)


def _read(kind: type[Any], request: Request, *, partial: bool = False) -> dict[str, Any]:
    """Return what a body says; a field that is not known is refused like one that is wrong."""
    given = kind(data=request.data, partial=partial)
    given.is_valid(raise_exception=True)
    if unknown := unknown_fields(request.data, sorted(given.fields)):
        raise ValidationError({"errors": unknown})
    found: dict[str, Any] = given.validated_data
    return found
