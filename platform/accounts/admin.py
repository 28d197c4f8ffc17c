"""Accounts and their API tokens in the admin."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest
from knox.models import AuthToken
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.models import User

admin.site.unregister(Group)
admin.site.unregister(AuthToken)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg,misc]  # unfold is untyped
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(AuthToken)
class TokenAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Tokens are made by `manage.py api_token USER`, which shows them once; here they end."""

    list_display: ClassVar = ["token_key", "user", "created", "expiry"]
    list_select_related: ClassVar = ["user"]
    search_fields: ClassVar = ["token_key", "user__username"]
    fields: ClassVar = ["token_key", "user", "created", "expiry"]
    readonly_fields: ClassVar = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        how = "New tokens: manage.py api_token USER"
        return super().changelist_view(request, {"subtitle": how, **(extra_context or {})})
