"""Addresses of the pages."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, URLResolver, path

from web import experiment, families, home, pausing, prompt_grid, question, tagging, views
from web.account import pages as account
from web.compare import pages as compare
from web.help import pages as help_pages
from web.intake import pages as intake, state
from web.learn import advice, claims, glossary
from web.process import pages as process
from web.submit import page as submit

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("families.css", families.stylesheet, name="families"),
    path("live/activity/", home.activity, name="activity"),
    path("experiments/<int:pk>/", experiment.experiment, name="experiment"),
    path(
        "experiments/<int:pk>/live/<slug:name>/",
        experiment.experiment_region,
        name="experiment-region",
    ),
    path("experiments/<int:pk>/prompts/", prompt_grid.prompts, name="experiment-prompts"),
    path("compare/", compare.compare, name="compare"),
    path("questions/<int:pk>/", question.question, name="question"),
    path("questions/<int:pk>/live/", question.question_region, name="question-region"),
    path("runs/<int:pk>/process/", process.process, name="run-process"),
    path("viewings/<int:pk>/", process.viewing, name="viewing"),
    path("viewings/<int:pk>/live/", process.viewing_region, name="viewing-region"),
    path("account/", account.account, name="account"),
    path("account/preference/", account.prefer, name="prefer"),
    path("account/tokens/", account.make_token, name="make-token"),
    path("account/tokens/end/", account.end_token, name="end-token"),
    path("account/webhooks/", account.add_webhook, name="add-webhook"),
    path("account/webhooks/<int:pk>/test/", account.test_webhook, name="test-webhook"),
    path("account/webhooks/<int:pk>/renew/", account.renew_webhook, name="renew-webhook"),
    path("account/webhooks/<int:pk>/remove/", account.remove_webhook, name="remove-webhook"),
    path("experiments/<int:pk>/watch/", account.watch, name="watch-experiment"),
    path("experiments/<int:pk>/tags/", tagging.tag, name="tag-experiment"),
    path("submit/experiment/", submit.experiment, name="submit-experiment"),
    path("submit/experiment/check/", submit.check, name="check-experiment"),
    path("submit/samples/", intake.samples, name="submit-samples"),
    path("submit/dataset/", intake.dataset, name="submit-dataset"),
    path("submit/protocol/", intake.protocol, name="submit-protocol"),
    path("submit/uploads/<uuid:pk>/remove/", intake.remove_upload, name="remove-upload"),
    path("intakes/<int:pk>/", state.intake, name="intake"),
    path("intakes/<int:pk>/live/", state.intake_region, name="intake-region"),
    path("intakes/<int:pk>.png", state.intake_picture, name="intake-picture"),
    path("intakes/<int:pk>/confirm/", state.confirm, name="confirm-intake"),
    path("intakes/<int:pk>/discard/", state.discard, name="discard-intake"),
    path("datasets/", views.datasets, name="datasets"),
    path("datasets/<slug:slug>/", views.dataset, name="dataset"),
    path("protocols/<slug:fingerprint>/", views.protocol, name="protocol"),
    path("claims/", claims.claims, name="claims"),
    path("glossary/", glossary.glossary, name="glossary"),
    path("glossary/<slug:key>/", glossary.term, name="term"),
    path("advice/", advice.advice, name="advice"),
    path("judging/", help_pages.page, {"name": "judging"}, name="judging"),
    path("help/", help_pages.page, name="help"),
    path("help/<slug:name>/", help_pages.page, name="help-page"),
    path("help/files/<str:name>", help_pages.file, name="help-file"),
    path("workers/", views.workers, name="workers"),
    path("workers/pause/", pausing.pause, name="pause"),
    path("workers/<int:pk>/remove/", pausing.remove_worker, name="remove-worker"),
    path("workers/resume/", pausing.resume, name="resume"),
    path("health/", views.health, name="health"),
    path("login/", LoginView.as_view(template_name="web/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
