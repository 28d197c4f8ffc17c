from importlib import import_module

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"

    def ready(self) -> None:
        """Let what is to be told follow submissions and jobs."""
        import_module("notifications.outbox").connect()  # needs all models
