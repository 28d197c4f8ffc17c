"""The page of one's own account: what it is told, where to, and what became of each message."""

from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts import tokens
from accounts.models import User
from experiments.models import Experiment
from notifications import outbox, receivers
from notifications.addresses import MOST_CHARACTERS
from notifications.models import ENDS, Delivery, Webhook
from web.intake.pages import for_submitters

PAGE_SIZE = 20


@never_cache
@for_submitters
def account(request: HttpRequest) -> HttpResponse:
    """Show the reader's account."""
    return _page(request)


def _page(request: HttpRequest, status: int = 200, **shown: Any) -> HttpResponse:
    user = cast(User, request.user)
    found = Delivery.objects.filter(user=user).select_related("webhook", "experiment")
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    preference = receivers.preference_of(user)
    context = {
        "ends": [(end, getattr(preference, end)) for end in ENDS],
        "preference": preference,
        "gets_mail": bool(settings.EMAIL_HOST and user.email),
        "site_mails": bool(settings.EMAIL_HOST),
        "tokens": tokens.of(user),
        "token_days": settings.API_TOKEN_DAYS,
        "site": request.build_absolute_uri("/").rstrip("/"),
        "webhooks": user.webhooks.all(),
        "most_webhooks": receivers.MOST_WEBHOOKS,
        "most_characters": MOST_CHARACTERS,
        "page": page,
        "days": settings.DELIVERY_DAYS,
        **shown,
    }
    return render(request, "web/account/account.html", context, status=status)


@require_POST
@for_submitters
def prefer(request: HttpRequest) -> HttpResponse:
    """Write what is ticked."""
    ticked = {name: name in request.POST for name in (*ENDS, "email")}
    receivers.prefer(cast(User, request.user), ticked)
    messages.success(request, "Your wishes are kept.")
    return redirect("account")


@require_POST
@never_cache
@for_submitters
def make_token(request: HttpRequest) -> HttpResponse:
    """Make an API token of the account, and show it this once."""
    user = cast(User, request.user)
    if tokens.of(user).count() >= tokens.MOST_TOKENS:
        messages.error(request, f"Expected at most {tokens.MOST_TOKENS} tokens: end one first.")
        return redirect("account")
    _, text = tokens.make(user, days=settings.API_TOKEN_DAYS, actor=user)
    return _page(request, token=text)


@require_POST
@for_submitters
def end_token(request: HttpRequest) -> HttpResponse:
    """End the token that the form names."""
    user, key = cast(User, request.user), request.POST.get("key", "")
    if tokens.end(user, key, actor=user):
        messages.success(request, "The token has ended: nothing more is opened with it.")
    else:
        messages.error(request, "You have no such token.")
    return redirect("account")


@require_POST
@never_cache
@for_submitters
def add_webhook(request: HttpRequest) -> HttpResponse:
    """Add a webhook, and show its secret this once."""
    url = request.POST.get("url", "")
    try:
        webhook, secret = receivers.add_webhook(cast(User, request.user), url)
    except receivers.WishRefused as error:
        return _page(request, status=400, typed=url, errors=list(error.errors.values()))
    return _page(request, shown=webhook, secret=secret)


@require_POST
@for_submitters
def test_webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a message that tells nothing."""
    if outbox.tell_test(_own(request, pk)):
        messages.success(request, "A test is on its way; reload the page to see what comes of it.")
    else:
        messages.info(request, "A test is on its way there already.")
    return redirect("account")


@require_POST
@never_cache
@for_submitters
def renew_webhook(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a new secret, and show it this once."""
    webhook = _own(request, pk)
    secret = receivers.renew_secret(webhook, user=cast(User, request.user))
    return _page(request, shown=webhook, secret=secret)


@require_POST
@for_submitters
def remove_webhook(request: HttpRequest, pk: int) -> HttpResponse:
    webhook = _own(request, pk)
    receivers.remove_webhook(webhook, user=cast(User, request.user))
    messages.success(request, "The webhook is removed, with its messages.")
    return redirect("account")


def _own(request: HttpRequest, pk: int) -> Webhook:
    webhook = get_object_or_404(Webhook, pk=pk)
    if webhook.user_id != request.user.pk:
        raise PermissionDenied("only the account whose webhook it is may do this")
    return webhook


@require_POST
@for_submitters
def watch(request: HttpRequest, pk: int) -> HttpResponse:
    """Tell the reader when an experiment ends, or do not."""
    experiment, user = get_object_or_404(Experiment, pk=pk), cast(User, request.user)
    wanted = request.POST.get("wanted") == "yes"
    receivers.watch(user, experiment, wanted=wanted)
    if not wanted:
        messages.success(request, "You are not told when it ends.")
    elif receivers.has_receiver(user):
        messages.success(request, "You are told when it ends.")
    else:
        text = (
            "You would be told when it ends, but there is nowhere to tell it: add a webhook here."
        )
        messages.warning(request, text)
        return redirect("account")
    return redirect(experiment)
