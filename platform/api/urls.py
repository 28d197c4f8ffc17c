"""Addresses of the REST interface."""

from typing import Any

from django.urls import URLPattern, URLResolver, path
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import APIRootView, DefaultRouter

from api.account.resources import (
    DeliveryViewSet,
    PreferenceView,
    WatchViewSet,
    WebhookViewSet,
)
from api.boards import LeaderboardViewSet
from api.comparing.views import CompareViewSet
from api.exports.lists import LossViewSet
from api.external import EntryViewSet
from api.http import queries
from api.learning.viewings import ViewingViewSet
from api.learning.views import AdviceViewSet, ClaimsViewSet
from api.questions import QuestionViewSet
from api.resources import Addressed
from api.schema import SchemaView
from api.site import AuditViewSet, EventViewSet, QueueViewSet, WorkerViewSet
from api.submissions import ExperimentViewSet
from api.uploads import UploadDetail, UploadList
from api.views import (
    DatasetViewSet,
    EvaluationViewSet,
    PromptSetViewSet,
    ProtocolViewSet,
    RunViewSet,
    SampleSetViewSet,
)

app_name = "api"


OTHERS = ("compare-list", "advice", "claims", "preference", "uploads", "schema", "docs")


class Root(Addressed, APIRootView):
    """Where everything is."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return the address of every list, and of what is none."""
        others = {name.removesuffix("-list"): name for name in OTHERS}
        self.api_root_dict = {**(self.api_root_dict or {}), **others}
        return super().get(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        queries.refuse_others(request.query_params, ["format"])


router = DefaultRouter()
router.APIRootView = Root
router.include_format_suffixes = False  # `?format=csv` asks for another one
router.register("datasets", DatasetViewSet, basename="dataset")
router.register("promptsets", PromptSetViewSet, basename="promptset")
router.register("protocols", ProtocolViewSet, basename="protocol")
router.register("experiments", ExperimentViewSet, basename="experiment")
router.register("entries", EntryViewSet, basename="entry")
router.register("runs", RunViewSet, basename="run")
router.register("samplesets", SampleSetViewSet, basename="sampleset")
router.register("evaluations", EvaluationViewSet, basename="evaluation")
router.register("losses", LossViewSet, basename="loss")
router.register("questions", QuestionViewSet, basename="question")
router.register("viewings", ViewingViewSet, basename="viewing")
router.register("workers", WorkerViewSet, basename="worker")
router.register("events", EventViewSet, basename="event")
router.register("audit", AuditViewSet, basename="audit")
router.register("queues", QueueViewSet, basename="queue")
router.register("webhooks", WebhookViewSet, basename="webhook")
router.register("deliveries", DeliveryViewSet, basename="delivery")
router.register("watches", WatchViewSet, basename="watch")
router.register("leaderboards", LeaderboardViewSet, basename="leaderboard")

docs = SpectacularSwaggerSplitView.as_view(
    url_name="api:schema",
    http_method_names=["get", "head"],  # its template has nothing to say to OPTIONS
)
preference = PreferenceView.as_view({"get": "retrieve", "patch": "partial_update"})
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", docs, name="docs"),
    path("preference/", preference, name="preference"),
    path("uploads/", UploadList.as_view(), name="uploads"),
    path("uploads/<uuid:pk>/", UploadDetail.as_view(), name="upload"),
    path("compare/", CompareViewSet.as_view({"get": "list"}), name="compare-list"),
    path("compare/curves/", CompareViewSet.as_view({"get": "curves"}), name="compare-curves"),
    path("advice/", AdviceViewSet.as_view({"get": "list"}), name="advice"),
    path("claims/", ClaimsViewSet.as_view({"get": "list"}), name="claims"),
    *router.urls,
]
