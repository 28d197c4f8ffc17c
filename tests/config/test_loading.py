"""A process that serves pages has loaded the site and set it apart from collections of garbage."""

import os
import subprocess
import sys

ASK = """
import gc, sys
import config.wsgi
from django.template import engines
known = engines["django"].engine.template_loaders[0].get_template_cache
print(gc.get_freeze_count(), "leaderboards.views" in sys.modules, len(known))
"""


def test_a_process_that_serves_pages_never_collects_what_it_loaded() -> None:
    asked = [sys.executable, "-c", ASK]

    answer = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ)

    frozen, has_views, templates = answer.stdout.split()[-3:]
    assert int(frozen) > 100_000
    assert has_views == "True"
    assert int(templates) >= 100


COLLECT = """
import weakref
from django.core.signals import request_started
from django.test import Client
import config.wsgi

class Circle: ...

def made():
    circle = Circle()
    circle.own = circle
    return circle

left = weakref.ref(made())
held = made()
outlived = weakref.ref(held)
print(left() is None)
Client(SERVER_NAME="localhost").get("/health/")
print(left() is None)
for _ in range(20):
    request_started.send(None)
del held
print(outlived() is None)
for _ in range(100):
    request_started.send(None)
print(outlived() is None)
"""


def test_what_an_answer_leaves_is_collected_before_the_next() -> None:
    asked = [sys.executable, "-c", COLLECT]

    answer = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ)

    assert answer.stdout.split()[-4:] == ["False", "True", "False", "True"]
