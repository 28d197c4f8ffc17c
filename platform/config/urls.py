"""All addresses of the site."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("api.urls")),
    path("", include("experiments.urls")),
    path("", include("leaderboards.urls")),
    path("", include("operations.urls")),
    path("", include("web.urls")),
]
