"""How the admin looks: its name, its colours and the lists beside its pages."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

ACCENT = {  # the site's own, from light to dark
    "50": "#edf2ff",
    "100": "#dbe4ff",
    "200": "#bac8ff",
    "300": "#91a7ff",
    "400": "#748ffc",
    "500": "#5c7cfa",
    "600": "#3b5bdb",
    "700": "#364fc7",
    "800": "#2f44ad",
    "900": "#283a93",
    "950": "#1c2966",
}


def lists(*names: str) -> list[dict[str, Any]]:
    """Return links to lists of rows, each for who may read it, from `app.model` and a title."""
    return [listed(*name.split(" ", 1)) for name in names]


def listed(kind: str, title: str) -> dict[str, Any]:
    """Return the link to the list of a kind of rows."""
    app, model = kind.split(".")

    def link(request: HttpRequest) -> str:
        return reverse(f"admin:{app}_{model}_changelist")

    def may_read(request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{app}.view_{model}"))

    return {"title": title, "link": link, "permission": may_read}


UNFOLD = {
    "SITE_TITLE": "Trilemma",
    "SITE_HEADER": "Trilemma",
    "SITE_SUBHEADER": "Administration",
    "SITE_ICON": lambda request: static("web/mark.svg"),
    "STYLES": [lambda request: static("web/admin.css")],
    "DASHBOARD_CALLBACK": "web.dashboard.dashboard",
    "COLORS": {"primary": ACCENT},
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {"items": [{"title": "Overview", "link": lambda request: reverse("admin:index")}]},
            {
                "title": "Experiments",
                "items": lists(
                    "experiments.experiment Experiments",
                    "experiments.run Runs",
                    "experiments.sampleset Sample sets",
                    "experiments.evaluation Evaluations",
                    "experiments.question Questions",
                    "experiments.viewing Viewings",
                    "jobs.worker Workers",
                ),
            },
            {
                "title": "Catalogue",
                "items": lists(
                    "catalog.dataset Datasets",
                    "catalog.promptset Prompts",
                    "catalog.protocol Protocols",
                    "catalog.storedfile Files",
                ),
            },
            {
                "title": "Accounts",
                "items": lists(
                    "accounts.user Accounts",
                    "knox.authtoken API tokens",
                    "accounts.auditevent Audit trail",
                    "notifications.webhook Webhooks",
                    "notifications.delivery Deliveries",
                ),
            },
        ],
    },
    "SITE_URL": lambda request: reverse("home"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("web/mark.svg")}
    ],
}
