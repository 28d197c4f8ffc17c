from django.apps import AppConfig
from django.core.checks import register

from experiments.checks import algorithms_left_out


class ExperimentsConfig(AppConfig):
    name = "experiments"

    def ready(self) -> None:
        """Let `manage.py check` name algorithms that are left out."""
        register(algorithms_left_out)
