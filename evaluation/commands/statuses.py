"""Exit statuses that a command may end with, beside 0."""

EXIT_DIFFERENT = 1  # a plain no
EXIT_ERROR = 2
