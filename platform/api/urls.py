"""Addresses of the REST interface."""

from django.urls import URLPattern, URLResolver, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

from api.boards import LeaderboardViewSet
from api.external import EntryViewSet
from api.questions import QuestionViewSet
from api.uploads import UploadDetail, UploadList
from api.views import (
    DatasetViewSet,
    EvaluationViewSet,
    ExperimentViewSet,
    PromptSetViewSet,
    ProtocolViewSet,
    RunViewSet,
    SampleSetViewSet,
)

app_name = "api"

router = DefaultRouter()
router.include_format_suffixes = False  # `?format=csv` asks for another one
router.register("datasets", DatasetViewSet, basename="dataset")
router.register("promptsets", PromptSetViewSet, basename="promptset")
router.register("protocols", ProtocolViewSet, basename="protocol")
router.register("experiments", ExperimentViewSet, basename="experiment")
router.register("entries", EntryViewSet, basename="entry")
router.register("runs", RunViewSet, basename="run")
router.register("samplesets", SampleSetViewSet, basename="sampleset")
router.register("evaluations", EvaluationViewSet, basename="evaluation")
router.register("questions", QuestionViewSet, basename="question")
router.register("leaderboards", LeaderboardViewSet, basename="leaderboard")

docs = SpectacularSwaggerSplitView.as_view(
    url_name="api:schema",
    http_method_names=["get", "head"],  # its template has nothing to say to OPTIONS
)
urlpatterns: list[URLPattern | URLResolver] = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", docs, name="docs"),
    path("uploads/", UploadList.as_view(), name="uploads"),
    path("uploads/<uuid:pk>/", UploadDetail.as_view(), name="upload"),
    *router.urls,
]
