"""Links to lists as files."""

from django import template
from django.urls import reverse
from django.utils.http import urlencode

from leaderboards.tables import other_formats

register = template.Library()


@register.inclusion_tag("web/_exports.html")
def exports(name: str, words: str, **filters: str | int) -> dict[str, object]:
    """Show the formats of a list of the REST interface, narrowed by its filters, under its words."""
    address = reverse(f"api:{name}-list")
    links = [
        (label, f"{address}?{urlencode({'format': kind, **filters})}")
        for label, kind in [("CSV", "csv"), *other_formats()]
    ]
    return {"words": words, "links": links}
