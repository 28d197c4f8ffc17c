"""The command `compare`: say whether two results may be compared."""

import argparse

from evaluation.commands.inputs import read_protocol
from evaluation.commands.report import say
from evaluation.commands.statuses import EXIT_DIFFERENT
from evaluation.protocols.record import differences


def compare(options: argparse.Namespace) -> int:
    """Print what two protocols differ in; the status is 1 if they do."""
    a, b = read_protocol(options.a), read_protocol(options.b)
    reasons = differences(a, b)
    if not reasons:
        say(f"comparable: both have the fingerprint {a.fingerprint()}")
        return 0
    say("not comparable:")
    for reason in reasons:
        say(f"  {reason}")
    return EXIT_DIFFERENT
