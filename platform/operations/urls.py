"""Addresses that probes and Prometheus ask."""

from django.urls import URLPattern, URLResolver, path

from operations import health, prometheus

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", prometheus.metrics, name="metrics"),
]
