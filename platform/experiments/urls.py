"""Addresses of experiments, runs and their pictures; the experiment's own page is in `web`."""

from django.urls import URLPattern, URLResolver, path

from experiments.pages import actions, logs, pictures, sheets, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("experiments/", views.experiments, name="experiments"),
    path("experiments/<int:pk>/cancel/", actions.cancel_experiment, name="cancel-experiment"),
    path("experiments/<int:pk>/retry/", actions.retry_experiment, name="retry-experiment"),
    path("entries/<int:pk>/losses.json", views.entry_losses, name="entry-losses"),
    path("runs/<int:pk>/", views.run, name="run"),
    path("runs/<int:pk>/live/<slug:name>/", views.run_region, name="run-region"),
    path("runs/<int:pk>/bundle.json", views.run_bundle, name="run-bundle"),
    path("runs/<int:pk>/losses.json", views.run_losses, name="run-losses"),
    path("jobs/<slug:kind>/<int:pk>/cancel/", actions.cancel_job, name="cancel-job"),
    path("jobs/<slug:kind>/<int:pk>/retry/", actions.retry_job, name="retry-job"),
    path("jobs/<slug:kind>/<int:pk>/log.txt", logs.job_log, name="job-log"),
    path("samples/<int:pk>.png", pictures.sample_grid, name="sample-grid"),
    path("samples/<int:pk>/<int:number>.png", sheets.sample_sheet, name="sample-sheet"),
    path("samples/nearest/<int:pk>.png", pictures.nearest_images, name="nearest-images"),
    path("pictures/<slug:name>/<int:pk>/", pictures.enlarged, name="picture"),
    path("answers/<int:pk>.png", pictures.answer_sheet, name="answer-sheet"),
    path("viewings/<int:pk>.png", pictures.viewing_sheet, name="viewing-sheet"),
    path("checkpoints/<int:pk>.png", pictures.checkpoint_preview, name="checkpoint-preview"),
]
