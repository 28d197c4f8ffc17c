"""Accounts, their API tokens and the audit trail in the admin."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest
from knox.models import AuthToken
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import audit
from accounts.models import AuditEvent, User

admin.site.unregister(Group)
admin.site.unregister(AuthToken)
Action = AuditEvent.Action


class FrozenAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """Rows that are read here; services and workers write them."""

    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class AuditedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """What is added, changed and deleted here goes into the audit trail as well."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        audit.record(request.user, Action.ADDED, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        audit.record(request.user, Action.CHANGED, obj, self.change_of(obj, message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> Any:
        for row in queryset:
            audit.record(request.user, Action.DELETED, row)
        return super().log_deletions(request, queryset)

    def change_of(self, obj: Any, message: Any) -> str:
        """Return in words what was changed."""
        names = [name for part in message for name in part.get("changed", {}).get("fields", [])]
        return ", ".join(names)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, AuditedAdmin):  # type: ignore[type-arg,misc]  # unfold is untyped
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    filter_horizontal = ()
    fieldsets = (  # of Django, but by role
        (None, {"fields": ["username", "password", "role", "is_active"]}),
        ("Personal", {"fields": ["first_name", "last_name", "email"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    )
    add_fieldsets = (
        (None, {"fields": ["username", "role", "usable_password", "password1", "password2"]}),
    )

    def change_of(self, obj: User, message: Any) -> str:
        return f"{super().change_of(obj, message)}; now {obj.role}".removeprefix("; ")


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

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for token in queryset:
            detail = f"API token {token.token_key}"
            audit.record(request.user, Action.DELETED, token.user, detail)
        return super().log_deletions(request, queryset)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        how = "New tokens: manage.py api_token USER"
        return super().changelist_view(request, {"subtitle": how, **(extra_context or {})})


@admin.register(AuditEvent)
class AuditAdmin(FrozenAdmin):
    """Who did what; nobody changes it here."""

    list_display: ClassVar = ["at", "actor_name", "action", "kind", "object_name", "detail"]
    list_filter: ClassVar = ["action", "kind"]
    search_fields: ClassVar = ["actor_name", "object_name"]
    fields: ClassVar = [*list_display, "object_id", "actor"]
    readonly_fields: ClassVar = fields
