"""What a process that answers pages does before its first answer, the same wherever one is."""

import gc
from itertools import count
from typing import Any

from django.conf import settings
from django.core.signals import request_started
from django.template.loader import get_template
from django.urls import get_resolver

YOUNG = 100_000  # objects that an answer may make before a collection stops it in its middle
OLDER, ALL = 10, 100  # answers after which what outlived earlier collections is looked through, too
_answers = count(1)


def load_site() -> None:
    """Import every view, read every template of ours; collect garbage between answers alone.

    1. So the first visitors need not wait for it. 2. What is loaded stays until the process ends;
    unless it is set apart, every full collection walks through its 180,000 objects, which takes
    longer than a page, in the middle of somebody's answer. Processes that are forked hence share
    the memory, too. 3. The 2,000 to 8,000 objects in circles that an answer leaves are collected
    before the next begins, when nothing holds the answer any more: hardly others are young then,
    so that it takes a millisecond or two. What is of another thread's answer falls to the
    collection of every tenth or hundredth.
    """
    _ = get_resolver().url_patterns
    templates = settings.BASE_DIR / "templates"
    for path in sorted(templates.rglob("*.html")):
        get_template(str(path.relative_to(templates)))
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    request_started.connect(_collect, dispatch_uid="garbage of an answer")


def _collect(**_: Any) -> None:
    number = next(_answers)
    gc.collect(0 if number % OLDER else 1 if number % ALL else 2)
