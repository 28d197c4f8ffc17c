"""Where browsers find static files: beside the site, whatever address it has."""

from django.contrib.staticfiles.storage import StaticFilesStorage
from django.urls import get_script_prefix


class PrefixedStaticFilesStorage(StaticFilesStorage):
    """Files at STATIC_URL under the prefix of the request; Django keeps that of the first one."""

    def url(self, name: str | None) -> str:
        return get_script_prefix().removesuffix("/") + super().url(name)
