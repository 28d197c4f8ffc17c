"""What stands behind the head of a column: its help, and the word of the glossary."""

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from leaderboards.board import Column
from web.learn import terms

register = template.Library()


@register.simple_tag
def explain(column: Column) -> str | SafeString:
    """Return a link to the glossary that tells on hover, focus and tap what a column holds."""
    term = terms.of_column(column.key)
    if term is None:
        return ""
    told = f"{column.help} {term.title}: {term.said.short}"
    return format_html(
        '<a class="explain" href="{}" aria-label="What is {}? {}" data-told="{}"></a>',
        *(reverse("term", args=[term.key]), column.label, told, told),
    )
