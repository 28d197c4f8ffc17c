"""Addresses of the boards' pages."""

from django.urls import URLPattern, URLResolver, path

from leaderboards import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("leaderboards/", views.leaderboards, name="leaderboards"),
    path("leaderboards/<slug:fingerprint>/", views.leaderboard, name="leaderboard"),
    path("leaderboards/<slug:fingerprint>/budgets/", views.at_the_same_budget, name="same-budget"),
]
