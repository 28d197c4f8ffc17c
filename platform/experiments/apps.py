from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register

from experiments.checks import plugins_left_out


class ExperimentsConfig(AppConfig):
    name = "experiments"

    def ready(self) -> None:
        """Let `manage.py check` name plugins that are left out, and searches end with their trials."""
        register(plugins_left_out)
        follow = import_module("experiments.lifetime.searching").follow  # needs all models
        import_module("jobs.settled").moved.connect(follow)
