"""What a process that answers pages does before its first answer, the same wherever one is."""

import gc

from django.conf import settings
from django.template.loader import get_template
from django.urls import get_resolver

YOUNG = 5_000  # objects between two collections: a long answer makes hundreds of thousands


def load_site() -> None:
    """Import every view, read every template of ours, and keep all that from collections of garbage.

    1. So the first visitors need not wait for it. 2. What is loaded stays until the process ends;
    unless it is set apart, every full collection walks through its 180,000 objects, which takes
    longer than a page, in the middle of somebody's answer. Processes that are forked hence share
    the memory, too.
    """
    _ = get_resolver().url_patterns
    templates = settings.BASE_DIR / "templates"
    for path in sorted(templates.rglob("*.html")):
        get_template(str(path.relative_to(templates)))
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
