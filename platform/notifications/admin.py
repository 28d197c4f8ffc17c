"""Webhooks and messages of all accounts in the admin: to look at, and to end."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from accounts import audit
from accounts.admin import Action, FrozenAdmin, ListedAdmin
from accounts.permissions import is_admin
from notifications.models import Delivery, Webhook


@admin.register(Webhook)
class WebhookAdmin(ListedAdmin):
    """Accounts make them on their own page; here they end. What follows the host is not shown."""

    list_display: ClassVar = ["__str__", "created_at"]
    list_select_related: ClassVar = ["user"]
    search_fields: ClassVar = ["user__username"]
    fields: ClassVar = ["user", "created_at"]
    readonly_fields: ClassVar = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Model]) -> Any:
        for webhook in queryset:
            audit.record(request.user, Action.DELETED, webhook)
        return super().log_deletions(request, queryset)


@admin.register(Delivery)
class DeliveryAdmin(FrozenAdmin):
    """What was told to whom, and whether it arrived."""

    list_display: ClassVar = [
        *("created_at", "user", "event", "to", "status", "attempts", "code", "detail")
    ]
    list_filter: ClassVar = ["status", "event"]
    list_select_related: ClassVar = ["user", "webhook"]
    search_fields: ClassVar = ["user__username", "message_id"]
    fields: ClassVar = [*list_display, "message_id", "experiment", "next_at", "ended_at"]
    readonly_fields: ClassVar = fields

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return is_admin(request.user)  # else no account that was told something could be deleted
