"""What others write when an experiment is submitted: they listen, and are told in its transaction."""

from django.dispatch import Signal

submitted = Signal()  # experiment; user: None of a command's; notify: True, False, None = not said
