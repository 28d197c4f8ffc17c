"""Scores sets of images; useful alone: `python -m evaluation`."""

import os

# Threads of OpenMP, which torch computes with, wait for each other by spinning unless they are told
# otherwise before it is loaded. Where a second process works on the same cores, that costs each of
# the two most of its time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
