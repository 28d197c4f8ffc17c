"""The site's Celery application with a broker that gives up on messages after a second."""

from config.celery import app

__all__ = ["app"]

app.conf.broker_transport_options = {"visibility_timeout": 1}
