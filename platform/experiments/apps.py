from django.apps import AppConfig
from django.core.checks import register

from experiments.checks import plugins_left_out


class ExperimentsConfig(AppConfig):
    name = "experiments"

    def ready(self) -> None:
        """Let `manage.py check` name plugins that are left out."""
        register(plugins_left_out)
