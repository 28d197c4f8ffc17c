from importlib import import_module

from django.apps import AppConfig


class LeaderboardsConfig(AppConfig):
    name = "leaderboards"

    def ready(self) -> None:
        """Let rows of boards follow what happens to jobs."""
        import_module("leaderboards.scores.following").connect(self)  # needs all models
