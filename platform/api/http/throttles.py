"""How often the REST interface answers; each web process counts for itself."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle

from accounts.logins import address_of


class VisitorThrottle(AnonRateThrottle):
    """Limits those without an account, by address."""

    def get_rate(self) -> str | None:
        return settings.API_RATE_VISITOR or None

    def get_ident(self, request: Request) -> str:
        return address_of(request)


class AccountThrottle(UserRateThrottle):
    """Limits accounts; visitors have a limit of their own."""

    def get_rate(self) -> str | None:
        return settings.API_RATE_ACCOUNT or None

    def get_cache_key(self, request: Request, view: object) -> str | None:
        if not request.user.is_authenticated:
            return None
        return self.cache_format % {"scope": self.scope, "ident": request.user.pk}
