"""Who somebody is: a name and a password, tried a limited number of times."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import devices, logins, permissions
from accounts.models import Role, User


class AccountBackend(ModelBackend):
    """Django's accounts; every form that signs somebody in goes through here.

    A role's permissions are those of `accounts.permissions`, beside what the account was given.
    """

    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        own: set[str] = super().get_user_permissions(user_obj, obj)
        role = user_obj.role if user_obj.is_active and isinstance(user_obj, User) else ""
        return own | permissions.SUBMITTER_PERMISSIONS if role == Role.SUBMITTER else own

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Return the account, None if name or password are wrong.

        Raises:
            TooManyLogins: if there were too many attempts; the password is not looked at.
        """
        if request is None or username is None:  # the site's own code
            return super().authenticate(request, username, password, **kwargs)
        device = devices.known(request, username)
        logins.begin(username, logins.address_of(request), device)
        user = super().authenticate(request, username, password, **kwargs)
        if user is not None:
            logins.succeed(username, device)
            request.META[devices.SIGNED_IN] = username
        return user
