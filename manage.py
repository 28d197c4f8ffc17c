#!/usr/bin/env python
"""Run a management command of the site: `python manage.py demo`."""

import os
import sys
from pathlib import Path


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent / "platform"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    from evaluation.imagesets.terminal import any_terminal

    with any_terminal():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
