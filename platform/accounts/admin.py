"""Accounts, their API tokens and the audit trail in the admin."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import BadRequest
from django.db import DatabaseError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from knox.models import AuthToken
from unfold.admin import ModelAdmin, checkbox
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.views import ChangeList

from accounts import audit
from accounts.models import AuditEvent, User

admin.site.unregister(Group)
admin.site.unregister(AuthToken)
AuthToken._meta.verbose_name = "API token"  # no word of the package that keeps them
AuthToken._meta.verbose_name_plural = "API tokens"
Action = AuditEvent.Action


A_KEY = "the-key-of-a-row"
UNANSWERABLE = (  # what databases and Django say of a question that makes no sense
    *(DatabaseError, ArithmeticError, LookupError),
    *(NotImplementedError, TypeError, ValueError),
)


class AskedList(ChangeList):  # type: ignore[misc]  # unfold is untyped
    """A list of rows whose address may ask for anything.

    The theme asks for the order and the addresses of the heads anew for each row: they are kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.said: dict[str, str] = {}
        super().__init__(*args, **kwargs)
        self.columns_in_order: dict[int, str] = super().get_ordering_field_columns()

    def get_ordering_field_columns(self) -> dict[int, str]:
        return self.columns_in_order

    def get_query_string(
        self, new_params: dict[str, Any] | None = None, remove: list[str] | None = None
    ) -> str:
        asked = repr((new_params, remove))
        if asked not in self.said:
            self.said[asked] = super().get_query_string(new_params, remove)
        return self.said[asked]

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows.

        Raises:
            IncorrectLookupParameters: if the database cannot answer; the list is then shown whole.
        """
        try:
            with transaction.atomic():  # what follows may ask the database again
                super().get_results(request)
        except UNANSWERABLE as error:
            if not self.params:
                raise
            raise IncorrectLookupParameters(error) from error


class FewOf(admin.RelatedFieldListFilter):
    """A filter by what rows belong to: a choice of the first of these, and the one that is chosen."""

    most = 50

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, Any]]:
        order = self.field_admin_ordering(field, request, model_admin) or ["pk"]
        rows = field.remote_field.model._default_manager.order_by(*order)
        found = {str(row.pk): str(row) for row in rows[: self.most]}
        keys = [text for text in self.lookup_val or () if re.fullmatch("[0-9]{1,18}", text)]
        found |= {str(row.pk): str(row) for row in rows.filter(pk__in=keys[:1])}
        return list(found.items())


@cache
def tick_box() -> str:
    """Return the theme's box that chooses a row, with `A_KEY` for the row's."""
    return str(checkbox.render(ACTION_CHECKBOX_NAME, A_KEY))


class ListedAdmin(ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    """What all our lists in the admin share."""

    list_per_page = 25  # of unfold's markup, whose HTML stays under 300 KB
    list_max_show_all = 25

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[AskedList]:
        return AskedList

    @admin.display(description=ModelAdmin.action_checkbox.short_description)
    def action_checkbox(self, obj: Model) -> SafeString:
        """Return the box that chooses a row, made from one that the theme wrote once."""
        return mark_safe(tick_box().replace(A_KEY, escape(obj.pk)))  # noqa: S308  # both are

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        return super().get_object(request, object_id, from_field or None)  # "" is no field

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        try:
            with transaction.atomic():
                queryset.filter(pk__in=keys).exists()
        except UNANSWERABLE as error:
            raise BadRequest("expected the keys of rows") from error
        return super().response_action(request, queryset)


class FrozenAdmin(ListedAdmin):
    """Rows that are read here; services and workers write them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class AuditedAdmin(ListedAdmin):
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
class TokenAdmin(ListedAdmin):
    """Tokens are made on an account's page or by `manage.py api_token USER`; here they end."""

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
        how = "New tokens: on the account's own page, or manage.py api_token USER"
        return super().changelist_view(request, {"subtitle": how, **(extra_context or {})})


@admin.register(AuditEvent)
class AuditAdmin(FrozenAdmin):
    """Who did what; nobody changes it here."""

    list_display: ClassVar = ["at", "actor_name", "action", "kind", "object_name", "detail"]
    list_filter: ClassVar = ["action", "kind"]
    search_fields: ClassVar = ["actor_name", "object_name"]
    fields: ClassVar = [*list_display, "object_id", "actor"]
    readonly_fields: ClassVar = fields
